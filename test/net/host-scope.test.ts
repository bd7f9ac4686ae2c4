// SPDX-License-Identifier: Apache-2.0
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { z } from '../../electron/contract/zod.ts';
import { kernelState } from '../world/kernel.ts';
import { checkoutInside, type Finished, netdInside, World } from '../world/world.ts';

/*
 * How an ordinary user comes to the host scope, or learns why not, from a netd that is installed for one group and
 * from a pkexec that answers as polkit's does (src/programs/pkexec.c). The real one is in confinement.test.ts.
 */

const installed = '/usr/libexec/tapyard/host/tapyard-netd';
const setcap = `setcap cap_net_admin,cap_net_raw,cap_net_bind_service+ep ${installed}`;
/** The group that may run it, which has no name. */
const group = 4711;

let world: World;
let before: Awaited<ReturnType<typeof kernelState>>;
let file: string;

beforeAll(async () => {
  world = World.create();
  before = await kernelState(world);
  file = world.file('tapyard.yaml', 'name: seed\nnetworks:\n  br0: { subnet: 192.168.57.0/24, nat: true }\n');
});
afterAll(() => world?.close());

/** A script of root's in a mount namespace whose /usr/libexec is empty, with `tapyard` as a user with these groups. */
async function system(script: string, groups: readonly number[] = []): Promise<Finished> {
  const as = groups.length === 0 ? '--clear-groups' : `--groups ${groups.join(',')}`;
  return world.run(
    [
      'sh',
      '-euc',
      `mount -t tmpfs -o mode=755 none /usr/libexec
       export HOME=${world.home('user')} XDG_RUNTIME_DIR=${world.runtimeDir('user')} USER=tester
       tapyard() { setpriv --reuid ${world.uid} --regid ${world.uid} ${as} -- ${world.tapyardCommand([]).join(' ')} "$@"; }
       ${script}`,
    ],
    { as: 'root' },
  );
}

const install = `install -D -o root -g ${group} -m 0750 ${netdInside} ${installed}; ${setcap}`;

const Checks = z.array(
  z.looseObject({
    id: z.string(),
    state: z.string(),
    found: z.string(),
    fixes: z.array(z.looseObject({ command: z.string().optional() })),
  }),
);
function hostScope(json: string): z.infer<typeof Checks>[number] | undefined {
  return Checks.parse(JSON.parse(json)).find(({ id }) => id === 'host-scope');
}

test('installed for a group: a member has the host scope and is asked by nobody', async () => {
  const done = await system(
    `${install}
     tapyard up ${file} --scope host
     ip -br addr show br0
     tapyard down`,
    [group],
  );
  expect(done, done.stderr).toMatchObject({ code: 0 });
  expect(done.stdout).toContain('192.168.57.1/24');
  expect(done.stderr).not.toContain('polkit');
  expect(await kernelState(world)).toEqual(before);
});

test('installed for a group: who is not of it is denied, and told so', async () => {
  const denied = await system(`${install}; tapyard up ${file} --scope host`);
  expect(denied.code).toBe(1);
  expect(denied.stderr).toContain('[HOST_SCOPE_DENIED]');
  expect(denied.stderr).toContain('you are not in its group');
  expect(denied.stderr).toContain('sudo usermod -aG');
  expect(await kernelState(world)).toEqual(before);
});

test('tapyard check sees that the installed helper has lost its capabilities, and its command mends it', async () => {
  const lost = await system(`${install}; setcap -r ${installed}; tapyard check --json || :`, [group]);
  const check = hostScope(lost.stdout);
  expect(check).toMatchObject({
    state: 'warning',
    found: expect.stringContaining('lost its file capabilities'),
  });
  expect(check?.fixes.map(({ command }) => command)).toEqual([`sudo /usr/sbin/${setcap}`]);
  const mended = await system(`${install}; setcap -r ${installed}; ${setcap}; tapyard check --json || :`, [
    group,
  ]);
  expect(hostScope(mended.stdout)).toMatchObject({ state: 'ok' });
});

/** A bin directory with what tapyard needs and a pkexec that ends like this, or none. */
async function bin(name: string, pkexec: string | null): Promise<string> {
  const dir = path.join(world.dir, name);
  mkdirSync(dir, { mode: 0o755 });
  await world.must(
    [
      'sh',
      '-euc',
      `cd ${dir}; for program in node setpriv sh ip; do ln -s "$(command -v $program)" .; done
       [ -z "$1" ] || { printf '#!/bin/sh\\n%s\\n' "$1" > pkexec; chmod 755 pkexec; }`,
      'sh',
      pkexec ?? '',
    ],
    { as: 'root' },
  );
  return dir;
}

const policies = '/usr/share/polkit-1/actions';
const withPolicy = `install -D -m 0755 ${netdInside} /usr/libexec/tapyard/tapyard-netd
  mount -t tmpfs -o mode=755 none ${policies}
  cp ${checkoutInside}/assets/polkit/dev.tapyard.Tapyard.policy ${policies}/`;
const cannot = 'Error executing command as another user:';

test.each([
  {
    how: 'dismissed',
    pkexec: `echo "${cannot} Request dismissed" >&2; exit 126`,
    code: 'HOST_SCOPE_DISMISSED',
    says: 'The question for the host scope was closed',
  },
  {
    how: 'denied',
    pkexec: `printf "${cannot} Not authorized\\n\\nThis incident has been reported.\\n" >&2; exit 127`,
    code: 'HOST_SCOPE_DENIED',
    says: 'polkit does not allow you the host scope',
  },
  {
    how: 'with nobody to be asked',
    pkexec: `echo "${cannot} No authentication agent found." >&2; exit 127`,
    code: 'HOST_SCOPE_DENIED',
    says: 'Nobody could be asked',
  },
  {
    how: 'without polkit behind it',
    pkexec: `echo "Error getting authority: Error initializing authority: Could not connect: No such file or directory" >&2; exit 127`,
    code: 'HOST_SCOPE_DENIED',
    says: 'polkit does not answer',
  },
])('pkexec $how: told before it is asked, and then which it was', async ({ how, pkexec, code, says }) => {
  const programs = await bin(how.replaceAll(' ', '-'), pkexec);
  const done = await system(
    `${withPolicy}; PATH=${programs}:/usr/sbin:/sbin; tapyard up ${file} --scope host`,
  );
  expect(done.code).toBe(1);
  const told = done.stderr.indexOf('polkit asks you now for the password');
  expect(told).toBeGreaterThanOrEqual(0);
  expect(done.stderr.indexOf(says)).toBeGreaterThan(told);
  expect(done.stderr).toContain(`[${code}]`);
  expect(await kernelState(world)).toEqual(before);
});

test('polkit that cannot be asked: what is not there is named, with what brings it, and nobody is asked', async () => {
  const noPkexec = await system(
    `${withPolicy}; PATH=${await bin('none', null)}; tapyard up ${file} --scope host`,
  );
  expect(noPkexec.code).toBe(1);
  expect(noPkexec.stderr).toContain('[HOST_SCOPE_DENIED]');
  expect(noPkexec.stderr).toContain('pkexec is not installed');
  expect(noPkexec.stderr).not.toContain('is missing');
  expect(noPkexec.stderr).not.toContain('polkit asks you now');

  const asks = `touch ${world.dir}/asked; exit 126`;
  const noPolicy = await system(
    `${withPolicy}; rm ${policies}/*; PATH=${await bin('bare', asks)}; tapyard up ${file} --scope host`,
  );
  expect(noPolicy.code).toBe(1);
  expect(noPolicy.stderr).toContain(`${policies}/dev.tapyard.Tapyard.policy is missing`);
  expect(noPolicy.stderr).toMatch(/sudo install -D -m 0644 \S+\.policy/);
  expect(noPolicy.stderr).not.toContain('pkexec is not installed');
  expect(noPolicy.stderr).not.toContain('polkit asks you now');
  expect((await world.run(['test', '-e', `${world.dir}/asked`])).code).toBe(1);
  expect(await kernelState(world)).toEqual(before);
});
