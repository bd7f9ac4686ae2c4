// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from 'vitest';
import { judge } from '../../../electron/core/check/host-scope.ts';
import type { HostScopeGround } from '../../../electron/core/net/host-scope.ts';

const installed = '/usr/libexec/tapyard/host/tapyard-netd';
const ground = (part: Partial<HostScopeGround> = {}): HostScopeGround => ({
  root: false,
  isProgram: () => true,
  exists: () => true,
  find: (name) => `/usr/bin/${name}`,
  own: () => '/checkout/tapyard-netd',
  ownPolicy: () => undefined,
  ...part,
});
const says = (code: string) => ({
  there: true,
  answer: { code, message: `because ${code}` },
  noNewPrivileges: false,
});

describe('the check of the host scope', () => {
  it('knows by its answer whether the installed helper has its capabilities', () => {
    expect(judge(ground(), says('BAD_DIRECTORY'))).toMatchObject({ state: 'ok' });
    const lost = judge(ground(), says('NO_PRIVILEGE'));
    expect(lost).toMatchObject({
      state: 'warning',
      found: expect.stringContaining('lost its file capabilities'),
    });
    expect(lost.fixes.map(({ command }) => command)).toEqual([
      `sudo setcap cap_net_admin,cap_net_raw,cap_net_bind_service+ep ${installed}`,
    ]);
    expect(judge(ground(), says('UNSAFE_PATH')).found).toContain('because UNSAFE_PATH');
    expect(judge(ground(), { ...says(''), answer: undefined }).found).toContain('says nothing');
  });

  it('offers no way that no_new_privs closes', () => {
    const outside = ground({ isProgram: (path) => path !== installed });
    for (const found of [
      judge(ground(), { ...says('NO_PRIVILEGE'), noNewPrivileges: true }),
      judge(outside, { there: false, answer: undefined, noNewPrivileges: true }),
    ]) {
      expect(found).toMatchObject({ state: 'warning', found: expect.stringContaining('no_new_privs') });
      expect(found.found).not.toContain('polkit asks');
      expect(found.fixes.map(({ command }) => command)).toEqual([undefined]);
    }
    expect(judge(ground(), { ...says('BAD_DIRECTORY'), noNewPrivileges: true })).toMatchObject({
      state: 'ok',
    });
  });

  it('names the way that is open, and of those that are not what opens them', () => {
    const none = { there: false, answer: undefined, noNewPrivileges: false };
    expect(judge(ground({ root: true }), none)).toMatchObject({ state: 'ok' });
    const outside = ground({ isProgram: (path) => path !== installed });
    expect(judge(outside, none)).toMatchObject({
      state: 'ok',
      found: expect.stringContaining('polkit asks'),
    });
    const alone = ground({ isProgram: () => false, find: () => undefined });
    expect(judge(alone, { ...none, there: true }).fixes[0]?.command).toContain('usermod -aG "$(stat');
    const bare = judge(alone, none);
    expect(bare.found).toContain('pkexec is not installed');
    expect(bare.fixes[0]?.command).toContain('setcap');
  });
});
