/** Join tokens for people. */
import { formatTable } from '../table.ts';
import type { TokenView } from './admin-views.ts';

export function formatTokens(tokens: readonly TokenView[]): string {
  return formatTable(
    [
      { title: 'NAME', text: ({ name }) => name },
      { title: 'STATUS', text: ({ status, isDefault }) => (isDefault ? `${status}, default` : status) },
      { title: 'USES', text: ({ uses, useLimit }) => `${uses}/${useLimit ?? '-'}`, isRight: true },
      { title: 'EXPIRES', text: ({ expires }) => expires ?? 'never' },
      { title: 'CREATED', text: ({ created }) => created },
      { title: 'DESCRIPTION', text: ({ description, provider }) => description || provider || '' },
    ],
    tokens,
  );
}
