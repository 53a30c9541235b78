/** Which Talos versions know node unique tokens. */

interface Version {
  readonly major: number;
  readonly minor: number;
  readonly patch: number;
  readonly isPreRelease: boolean;
}

/** Machines that do not name a version are older than the field. */
export const UNNAMED_VERSION = '1.5.0';

/** `v1.6.0`, `1.7.0-alpha.0+build`; a missing patch is 0. Undefined when it is no version. */
export function parseTalosVersion(text: string): Version | undefined {
  const match = /^v?(\d{1,9})\.(\d{1,9})(?:\.(\d{1,9}))?(-[0-9A-Za-z.-]+)?(?:\+[0-9A-Za-z.-]+)?$/.exec(text);
  if (!match) return undefined;
  return {
    major: Number(match[1]),
    minor: Number(match[2]),
    patch: Number(match[3] ?? 0),
    isPreRelease: match[4] !== undefined,
  };
}

/** True from 1.6.0 on. Pre-releases of 1.6.0 come before it (SemVer section 11); what cannot be read counts as old. */
export function supportsSecureJoin(version: string | undefined): boolean {
  const parsed = parseTalosVersion(version || UNNAMED_VERSION);
  if (!parsed) return false;
  if (parsed.major !== 1) return parsed.major > 1;
  if (parsed.minor !== 6) return parsed.minor > 6;
  return parsed.patch > 0 || !parsed.isPreRelease;
}
