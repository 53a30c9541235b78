/** examples/config.yaml and docs/reference/config.md, made from the settings. */
import { JOIN_CONFIG, SERVE_CONFIG } from './kinds.ts';
import { type Setting, type SettingTable } from './setting.ts';
import { formatEntry } from './yaml-text.ts';

/** Keys, descriptions and tables only: the same for every kind. */
const KINDS: readonly { readonly kind: string; readonly command: string; readonly table: SettingTable }[] = [
  SERVE_CONFIG,
  JOIN_CONFIG,
];

/** Every key with its default, or with what could stand there, as a comment. */
export function exampleFile(): string {
  const documents = KINDS.map(({ kind, command, table }) =>
    [
      `# For culvert ${command}.`,
      'apiVersion: v1alpha1',
      `kind: ${kind}`,
      ...Object.entries(table).flatMap(([key, setting]) => [
        '',
        `# ${textOf(setting)}`,
        `# ${formatEntry(key, valueOf(setting))}`,
      ]),
      '',
    ].join('\n'),
  );
  return `# The configuration of culvert serve and culvert join: every key, each with its default, or with an example where there
# is none. Made from the table of settings by "npm run docs". Each command reads its own document; a file for one of them
# needs no other. A SideroLinkConfig, EventSinkConfig or KmsgLogConfig of Talos may stand in it for join.
# Flags count before the environment, that before this file. "culvert check config.yaml" says what is in effect.
${documents.join('---\n')}`;
}

/** Every key with its flag and its twin in the environment. */
export function configReference(): string {
  const sections = KINDS.map(({ kind, command, table }) => {
    const rows = Object.entries(table).map(([key, setting]) => {
      const { flag, env, change } = setting;
      const text = setting.default === undefined ? '' : ` (default: ${setting.default})`;
      const cells = [
        `\`${key}\``,
        flag === undefined ? '' : `\`${cell(flag)}\``,
        `\`${env}\``,
        cell(`${textOf(setting)}${text}`),
        change,
      ];
      return `| ${cells.join(' | ')} |`;
    });
    return [
      `## ${kind}: culvert ${command}`,
      '',
      '| key | flag | environment | | a reload |',
      '|---|---|---|---|---|',
      ...rows,
      '',
    ].join('\n');
  });
  return `# Configuration keys

Made from the table of settings by \`npm run docs\`; do not edit. [CONFIG.md](../CONFIG.md) says how they are read.

The last column says what a reload does with a change: \`live\` applies it with every session kept, \`restart\` names it and
leaves it as it was, \`first start\` means that only an empty state directory asks.

${sections.join('\n')}`;
}

/** That of a switch says what the flag does, and a key says what is. */
function textOf({ description, form, flag }: Setting<unknown>): string {
  return form === 'switch' && flag?.startsWith('--no-') ? `false: ${description}` : description;
}

function valueOf(setting: Setting<unknown>): string | readonly string[] {
  const text = setting.default ?? setting.example ?? '';
  return setting.form === 'list' ? [text] : text;
}

function cell(text: string): string {
  return text.replaceAll('|', String.raw`\|`);
}
