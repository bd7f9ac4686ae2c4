// SPDX-License-Identifier: Apache-2.0
import { generateKeyPair, randomBytes } from 'node:crypto';
import { access, link, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { TapyardError } from '../../contract/error.ts';
import { diskFull, errnoOf, writeFileAtomic } from '../host/atomic-write.ts';

/** The ssh key of a lab: every guest of it accepts the public half. Absolute paths. */
export interface LabKey {
  readonly privateKey: string;
  /** One line in authorized_keys format. */
  readonly publicKey: string;
}

/** Where a lab's key is, in `<labData>/.ssh`: no guest's name, as their disks lie beside it. */
export function labKeyPaths(labData: string): LabKey {
  const privateKey = join(labData, '.ssh', 'id_ed25519');
  return { privateKey, publicKey: `${privateKey}.pub` };
}

/** What its key is called. */
export const labKeyComment = (lab: string): string => `tapyard-${lab}`;

/**
 * The lab's ed25519 key, made when it is not there yet. The private half is 0600 and in OpenSSH's own
 * format, which is the only one in which ssh(1) reads ed25519. Throws DISK_FULL.
 */
export async function labKey(labData: string, lab: string): Promise<LabKey> {
  const key = labKeyPaths(labData);
  const directory = dirname(key.privateKey);
  if (await exists(key.publicKey)) return key;
  try {
    await mkdir(directory, { recursive: true, mode: 0o700 });
    const made = await makeKey(labKeyComment(lab));
    // Two guests that start at once both come here: link(2) lets one key win, and both publish that one's public half.
    const aside = `${key.privateKey}.${randomBytes(6).toString('hex')}`;
    try {
      await writeFile(aside, made, { mode: 0o600, flag: 'wx' });
      await link(aside, key.privateKey).catch((thrown: unknown) => {
        if (errnoOf(thrown) !== 'EEXIST') throw thrown;
      });
    } finally {
      await rm(aside, { force: true });
    }
    const line = publicLine(await readFile(key.privateKey, 'utf8'));
    if (line === undefined) {
      throw new TapyardError('STATE_FILE_INVALID', `${key.privateKey} is no OpenSSH ed25519 key.`, {
        hint: 'Move it away; a new one is made at the next start.',
        subject: key.privateKey,
      });
    }
    await writeFileAtomic(key.publicKey, line, { mode: 0o644 });
  } catch (thrown) {
    throw diskFull(thrown, directory);
  }
  return key;
}

async function exists(path: string): Promise<boolean> {
  return await access(path).then(
    () => true,
    () => false,
  );
}

const keyType = 'ssh-ed25519';
const authMagic = 'openssh-key-v1\0';

function field(content: string | Uint8Array): Buffer {
  const bytes = Buffer.from(content);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes.length);
  return Buffer.concat([length, bytes]);
}

function number(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

/** A new private key without a passphrase (OpenSSH's PROTOCOL.key), `comment` in it. */
async function makeKey(comment: string): Promise<string> {
  const { privateKey } = await promisify(generateKeyPair)('ed25519');
  const { d = '', x = '' } = privateKey.export({ format: 'jwk' });
  const [secret, open] = [Buffer.from(d, 'base64url'), Buffer.from(x, 'base64url')];
  const publicBlob = Buffer.concat([field(keyType), field(open)]);
  // Twice the same number: with a cipher, a reader would know by it that the passphrase was right.
  const check = randomBytes(4);
  const inner = Buffer.concat([
    check,
    check,
    field(keyType),
    field(open),
    field(Buffer.concat([secret, open])),
    field(comment),
  ]);
  const padding = Buffer.from(Array.from({ length: (8 - (inner.length % 8)) % 8 }, (_, index) => index + 1));
  const whole = Buffer.concat([
    Buffer.from(authMagic),
    field('none'),
    field('none'),
    field(''),
    number(1),
    field(publicBlob),
    field(Buffer.concat([inner, padding])),
  ]);
  const lines = whole.toString('base64').match(/.{1,70}/g) ?? [];
  return ['-----BEGIN OPENSSH PRIVATE KEY-----', ...lines, '-----END OPENSSH PRIVATE KEY-----', ''].join(
    '\n',
  );
}

/** The authorized_keys line of a private key as `makeKey` writes it; undefined for anything else. */
export function publicLine(privateKey: string): string | undefined {
  const body = /^-----BEGIN OPENSSH PRIVATE KEY-----\n([\sA-Za-z0-9+/=]+)-----END/.exec(privateKey)?.[1];
  if (body === undefined) return undefined;
  const bytes = Buffer.from(body, 'base64');
  const head = Buffer.concat([Buffer.from(authMagic), field('none'), field('none'), field(''), number(1)]);
  if (!bytes.subarray(0, head.length).equals(head) || bytes.length < head.length + 4) return undefined;
  const length = bytes.readUInt32BE(head.length);
  const blob = bytes.subarray(head.length + 4, head.length + 4 + length);
  if (blob.length !== length || !blob.subarray(0, 15).equals(field(keyType))) return undefined;
  return `${keyType} ${blob.toString('base64')} tapyard\n`;
}
