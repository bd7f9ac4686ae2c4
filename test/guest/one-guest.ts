// SPDX-License-Identifier: Apache-2.0
import { join } from 'node:path';
import { Guest } from '../../electron/core/guest/guest.ts';
import { resolveImage } from '../../electron/core/image/image.ts';

/* A core with one micro guest, to be killed: starts it, lets it count on its console, and says so on stdout. */

const guest = new Guest({
  lab: 'test',
  name: process.argv[2] ?? 'guest',
  image: resolveImage('micro', '/'),
  memory: 128 * 1024 * 1024,
  cpus: 1,
  nics: [],
  netdSocket: join(process.env['XDG_RUNTIME_DIR'] ?? '/', 'no-netd.sock'),
});
await guest.start();
let text = '';
const intake = await guest.serial.open(
  { from: 0, tail: 0 },
  {
    credit: Number.MAX_SAFE_INTEGER,
    onCredit: undefined,
    data: (chunk) => {
      const before = text;
      text += Buffer.from(chunk).toString('latin1');
      if (!before.includes(':~#') && text.includes(':~#')) {
        intake.write(Buffer.from('i=0; while :; do echo n$i; i=$((i+1)); usleep 10000; done\n'));
      }
      if (!before.includes('n20\r') && text.includes('n20\r')) console.log('counting');
    },
    skip: () => undefined,
    end: () => undefined,
  },
);
