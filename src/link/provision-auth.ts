/** May this caller join at all? Codes and texts are those of Omni and of siderolink-agent: machines match them. */
import { LABEL_KEYS } from './join-token.ts';
import { STATUS, type Status } from './grpc-status.ts';
import type { ProvisionCall, ProvisionContext } from './provision-context.ts';
import { machineSubject, type MachineRecord, pendingSubject } from './records.ts';
import { supportsSecureJoin, UNNAMED_VERSION } from './talos-version.ts';
import { resolveJoinToken, tokenStatus } from './tokens.ts';
import { parseUniqueToken, sameToken, type UniqueToken } from './unique-token.ts';

/** Why a call was refused; the label of the metric and of the log line, more exact than what the caller hears. */
export type RefusalReason =
  | 'denied'
  | 'old_talos'
  | 'malformed_join_token'
  | 'malformed_unique_token'
  | 'missing_join_token'
  | 'unknown_join_token'
  | 'bad_signature'
  | 'revoked_join_token'
  | 'expired_join_token'
  | 'used_up_join_token'
  | 'no_provider'
  | 'unique_token_required'
  | 'pinned_unique_token'
  | 'foreign_key'
  | 'removing'
  | 'machine_limit'
  | 'pending_limit'
  | 'bad_uuid'
  | 'bad_public_key'
  | 'no_address';

export class Refusal extends Error {
  readonly status: Status;
  readonly reason: RefusalReason;

  constructor(code: Status['code'], message: string, reason: RefusalReason) {
    super(message);
    this.status = { code, message };
    this.reason = reason;
  }
}

export function unauthorized(reason: RefusalReason): Refusal {
  return new Refusal(STATUS.PERMISSION_DENIED, 'unauthorized', reason);
}

export interface Caller {
  /** secure: the machine's unique token takes part. legacy, agent: UUID and join token are everything. */
  readonly flow: 'secure' | 'legacy' | 'agent';
  /** The valid join token it came with, if any. */
  readonly joinToken: string | undefined;
  /** Why it has none. */
  readonly joinTokenProblem: RefusalReason | undefined;
  readonly uniqueToken: UniqueToken | undefined;
  readonly labels: Readonly<Record<string, string>>;
}

/** Throws Refusal. */
export function authenticate(
  call: ProvisionCall,
  known: readonly MachineRecord[],
  context: ProvisionContext,
): Caller {
  const { state, settings } = context;
  if (state.isDenied(call.nodeUuid, call.nodePublicKey)) throw unauthorized('denied');
  if (settings.joinMode === 'agent') return authenticateAsAgent(call, known, context);
  const isModern = supportsSecureJoin(call.talosVersion);
  if (settings.joinMode === 'strict' && !isModern) {
    throw new Refusal(
      STATUS.FAILED_PRECONDITION,
      `Talos version ${call.talosVersion || UNNAMED_VERSION} is not supported on this Omni instance as ` +
        `'--join-tokens-mode' is set to 'strict'`,
      'old_talos',
    );
  }
  const token = readJoinToken(call, known, context);
  const uniqueToken = readUniqueToken(call);
  const flow = settings.joinMode !== 'legacy' && isModern ? 'secure' : 'legacy';
  const caller: Caller = { ...token, uniqueToken, flow };
  if (flow === 'secure') {
    const isKnown = uniqueToken !== undefined && known.some((machine) => hasToken(machine, uniqueToken));
    if (caller.joinToken === undefined && !isKnown) throw unauthorized(problemOf(caller));
    return caller;
  }
  if (caller.joinToken === undefined) throw unauthorized(problemOf(caller));
  if (
    settings.joinMode === 'legacyAllowed' &&
    known.some(({ uniqueToken: stored }) => stored !== undefined)
  ) {
    throw unauthorized('unique_token_required');
  }
  return caller;
}

export function hasToken(machine: MachineRecord, token: UniqueToken): boolean {
  const stored = parseUniqueToken(machine.uniqueToken);
  return stored !== undefined && sameToken(stored, token);
}

function problemOf(caller: Caller): RefusalReason {
  return caller.joinTokenProblem ?? 'unknown_join_token';
}

/** The agent knows one token or none, and ignores unique tokens, which need not even be JSON. */
function authenticateAsAgent(
  call: ProvisionCall,
  known: readonly MachineRecord[],
  context: ProvisionContext,
): Caller {
  const open: Caller = {
    flow: 'agent',
    joinToken: undefined,
    joinTokenProblem: undefined,
    uniqueToken: undefined,
    labels: {},
  };
  if (context.state.tokens.isEmpty) return open;
  let token;
  try {
    token = readJoinToken(call, known, context);
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    throw new Refusal(STATUS.PERMISSION_DENIED, 'invalid join token', error.reason);
  }
  if (token.joinToken === undefined) {
    const reason = token.joinTokenProblem ?? 'unknown_join_token';
    throw new Refusal(STATUS.PERMISSION_DENIED, 'invalid join token', reason);
  }
  return { ...open, ...token };
}

type JoinTokenPart = Pick<Caller, 'joinToken' | 'joinTokenProblem' | 'labels'>;

/** A token that is merely worth nothing is no error: the unique token may still vouch for the machine. */
function readJoinToken(
  call: ProvisionCall,
  known: readonly MachineRecord[],
  { state, wallMs }: ProvisionContext,
): JoinTokenPart {
  const none = (joinTokenProblem: RefusalReason): JoinTokenPart => ({
    joinToken: undefined,
    joinTokenProblem,
    labels: {},
  });
  const presented = resolveJoinToken(call.joinToken, state.tokens);
  switch (presented.kind) {
    case 'malformed':
      throw new Refusal(
        STATUS.PERMISSION_DENIED,
        `invalid join token ${presented.problem}`,
        'malformed_join_token',
      );
    case 'no_provider':
      throw new Refusal(
        STATUS.NOT_FOUND,
        `the infra provider is being deleted or doesn't exist`,
        'no_provider',
      );
    case 'unknown':
      return none(
        presented.reason === 'bad_signature'
          ? 'bad_signature'
          : presented.reason === 'missing'
            ? 'missing_join_token'
            : 'unknown_join_token',
      );
    case 'known': {
      const { token, extraData } = presented;
      const valid: JoinTokenPart = {
        joinToken: token.token,
        joinTokenProblem: undefined,
        labels: labelsOf(extraData),
      };
      if (token.provider !== undefined) return valid;
      const status = tokenStatus(token, state.usesOf(token.token), wallMs);
      if (status === 'active') return valid;
      // A use is a machine, not a call: whoever counts already may come again.
      const subjects = [pendingSubject(call.nodePublicKey), ...known.map(({ id }) => machineSubject(id))];
      if (status === 'used_up' && subjects.some((subject) => state.hasUsed(token.token, subject)))
        return valid;
      return none(`${status}_join_token`);
    }
  }
}

function labelsOf(extraData: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(
    LABEL_KEYS.flatMap((key) => {
      const value = extraData[key];
      return value === undefined ? [] : [[key, value]];
    }),
  );
}

function readUniqueToken(call: ProvisionCall): UniqueToken | undefined {
  try {
    return parseUniqueToken(call.nodeUniqueToken);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw new Refusal(STATUS.PERMISSION_DENIED, error.message, 'malformed_unique_token');
  }
}
