/** The reference of the command line in Markdown. */
import { type CommandSpec, flatten, formatArgument, formatOption, formatUsage } from './command-spec.ts';

export function reference(program: CommandSpec): string {
  const sections = flatten(program).map((spec) => {
    const title = ['culvert', spec.path].join(' ').trim();
    const rows = [
      ...spec.arguments.map((argument) => [formatArgument(argument), argument.description, '']),
      ...spec.options.map((option) => [
        formatOption(option),
        option.defaultValue === undefined
          ? option.description
          : `${option.description} (default: ${option.defaultValue})`,
        option.env ?? '',
      ]),
    ];
    const table = rows.map(
      ([name, text, env]) => `| \`${cell(name)}\` | ${cell(text)} | ${env === '' ? '' : `\`${env}\``} |`,
    );
    return [
      `## ${title}`,
      '',
      `${capital(spec.summary)}.`,
      '',
      `    ${formatUsage(spec)}`,
      '',
      '| | | environment |',
      '|---|---|---|',
      ...table,
      ...(spec.notes === '' ? [] : ['', '```text', spec.notes, '```']),
      '',
    ].join('\n');
  });
  return `# Command line

Made from the table of commands by \`npm run docs\`; do not edit.

Every command ends with 0 when it did what was asked, 1 when it failed, 2 when it was asked wrongly. Results go to standard
output, everything else to standard error. \`culvert-go\` has the command line of wireguard-go: \`culvert-go --help\`.

${sections.join('\n')}`
    .trimEnd()
    .concat('\n');
}

function cell(text = ''): string {
  return text.replaceAll('|', String.raw`\|`);
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
