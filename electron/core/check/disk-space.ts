// SPDX-License-Identifier: Apache-2.0
import { statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import { dataDir } from '../host/runtime-dir.ts';
import { type Check, failed, ok, warning } from './check.ts';

const gibibyte = 2 ** 30;

/** Whether guests' disks have room to grow. */
export const diskSpace: Check = {
  id: 'disk-space',
  title: 'Space for guests’ disks',
  async look() {
    const place = dataDir();
    const { bsize, bavail } = await statfsOf(place);
    const free = bsize * bavail;
    const found = `${(free / gibibyte).toFixed(1)} GiB free for ${place}.`;
    const fix = { text: 'See what takes the space:', command: `df -h ${dirname(place)}` };
    if (free < 0.2 * gibibyte) return failed(`Only ${found} A guest that writes is paused soon.`, fix);
    if (free < 5 * gibibyte) return warning(`Only ${found}`, fix);
    return ok(found);
  },
};

/** The file system of a directory that may not be there yet: of the nearest one above it. */
async function statfsOf(path: string): Promise<{ bsize: number; bavail: number }> {
  for (let place = path; ; place = dirname(place)) {
    try {
      return await statfs(place);
    } catch (thrown) {
      if (place === dirname(place)) throw thrown;
    }
  }
}
