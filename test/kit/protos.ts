/** The files of proto/ through protobufjs, an implementation apart from ours: the oracle for our codecs. */
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import protobuf from 'protobufjs';

/** Tests run from dist/, so the root is the nearest folder with a package.json. */
export function repositoryRoot(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, 'package.json'))) folder = dirname(folder);
  return folder;
}

export function loadProtos(): protobuf.Root {
  const root = new protobuf.Root();
  const folder = join(repositoryRoot(), 'proto');
  // google/protobuf/any.proto is built into protobufjs; everything else lies under proto/.
  root.resolvePath = (_origin, target) =>
    target.startsWith('google/') ? target : target.startsWith(folder) ? target : join(folder, target);
  return root.loadSync(
    [
      'siderolink/provision.proto',
      'siderolink/wireguard.proto',
      'events/events.proto',
      'machine/machine.proto',
    ].map((name) => join(folder, name)),
    { keepCase: true },
  );
}
