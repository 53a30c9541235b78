import { SHOW_FIELDS } from '../show.ts';
import { TUNING_VARIABLES } from '../tuning.ts';

/** What a shell can offer for a value, by the name that the command table gives it. */
export type ValueKind =
  | { readonly kind: 'words'; readonly words: readonly string[] }
  /** Interfaces with a UAPI socket. */
  | { readonly kind: 'interfaces' }
  /** Files, and names of /etc/wireguard. */
  | { readonly kind: 'confs' }
  | { readonly kind: 'files' }
  | { readonly kind: 'nothing' };

const WORDS: Readonly<Record<string, readonly string[]>> = {
  level: ['silent', 'error', 'warn', 'info', 'debug'],
  format: ['json', 'pretty', 'journal'],
  shell: ['bash', 'zsh', 'fish'],
  when: ['auto', 'on', 'off'],
  family: ['mindflavor'],
  lanes: TUNING_VARIABLES.CULVERT_LANES,
  choice: ['on', 'off', 'auto'],
  address: ['127.0.0.1:9586'],
  'what...': ['crypto', 'handshake', 'lane', 'grpc', 'tunnel'],
  what: ['crypto', 'handshake', 'lane', 'grpc', 'tunnel'],
  field: SHOW_FIELDS,
};

export function valueKind(name: string): ValueKind {
  const words = WORDS[name];
  if (words) return { kind: 'words', words };
  switch (name) {
    case 'interface':
    case 'interface|file':
      return { kind: 'interfaces' };
    case 'file|interface':
      return { kind: 'confs' };
    case 'file':
    case 'path':
    case 'dir':
    case 'directory':
      return { kind: 'files' };
    default:
      return { kind: 'nothing' };
  }
}
