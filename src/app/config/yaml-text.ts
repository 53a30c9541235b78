/** The few forms of YAML that documents of settings need. */

/** `listen: ":4000"`, `ca: [/etc/ca.pem]`. */
export function formatEntry(key: string, value: string | readonly string[]): string {
  return `${key}: ${typeof value === 'string' ? scalar(value) : `[${value.map(scalar).join(', ')}]`}`;
}

/** Plain where that is a text, number or boolean beyond doubt; JSON strings are YAML. */
function scalar(text: string): string {
  return /^[\w/][\w./-]*$/.test(text) ? text : JSON.stringify(text);
}
