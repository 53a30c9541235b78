/** A kernel log line of Talos Linux, read for people. */
export interface LogLine {
  /** As the machine says it; empty when it does not. */
  readonly time: string;
  readonly level: string;
  readonly facility: string;
  readonly message: string;
}

/** A line that is no JSON object is its own message. */
export function readLogLine(body: string): LogLine {
  const plain: LogLine = { time: '', level: '', facility: '', message: body };
  let value: unknown;
  try {
    value = JSON.parse(body);
  } catch {
    return plain;
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return plain;
  const fields = value as Record<string, unknown>;
  const text = (name: string) => (typeof fields[name] === 'string' ? fields[name] : '');
  return {
    time: text('talos-time'),
    level: text('talos-level'),
    facility: text('facility'),
    message: typeof fields['msg'] === 'string' ? fields['msg'] : body,
  };
}
