// SPDX-License-Identifier: Apache-2.0
import type { ErrorData } from '../../../electron/contract/error.ts';
import type { JobRow, LabRow } from '../../../electron/contract/rows.ts';
import type { FakeCore } from '../fake-core.ts';

const qemuFailed: ErrorData = {
  code: 'QEMU_FAILED',
  message: 'QEMU ended while web was starting: could not open /home/ada/images/web.qcow2: Permission denied',
  hint: 'Make the image readable for you: chmod u+r /home/ada/images/web.qcow2',
  subject: 'seed/web',
};

function change(core: FakeCore, part: Partial<LabRow>): void {
  core.labs.change(core.labs.rows().map((lab) => ({ ...lab, ...part })));
}

function job(core: FakeCore, part: Partial<JobRow>): void {
  core.jobs.change([
    {
      id: 'job0',
      lab: core.labs.rows()[0]?.id ?? null,
      name: 'lab.up',
      state: 'running',
      doing: 'starting web',
      asks: null,
      done: 3,
      total: 7,
      startedAt: Date.now() - 2400,
      check: null,
      endedAt: null,
      error: null,
      ...part,
    },
  ]);
}

/** What can be wrong with a window, by the name in the page's address (`trouble=gone`). */
export const troubles: Readonly<Record<string, (core: FakeCore) => void>> = {
  crashed: (core) => core.crashGuest(core.guests.rows()[0]?.id ?? ''),
  gone: (core) => core.quit(),
  pasta: (core) =>
    change(core, {
      uplink: {
        provider: 'none',
        device: null,
        hostDevice: null,
        addresses: [],
        gateway: null,
        ipv6: null,
        reason: {
          code: 'PASTA_MISSING',
          message:
            'pasta is not installed, so guests reach each other and this computer, but not the internet.',
          hint: 'Install it: apt install passt. The uplink follows by itself.',
        },
      },
    }),
  file: (core) =>
    change(core, {
      problems: [
        {
          line: 7,
          column: 5,
          path: 'guests.web.memroy',
          message: 'unknown key "memroy"',
          expected: 'memory, cpus, image or nics; did you mean memory?',
        },
        {
          line: 12,
          column: 14,
          path: 'networks.br1.subnet',
          message: '192.168.57.128/25 overlaps 192.168.57.0/24 of br0',
        },
      ],
    }),
  job: (core) => {
    change(core, { state: 'starting' });
    job(core, {});
  },
  asked: (core) =>
    job(core, {
      name: 'lab.move',
      doing: 'asking for the host scope',
      asks: 'polkit asks you for a password.',
    }),
  failed: (core) => {
    change(core, { state: 'failed', error: qemuFailed });
    job(core, { state: 'failed', endedAt: Date.now(), error: qemuFailed });
  },
};
