// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from 'vitest';
import { judge } from '../../../electron/core/check/host-scope.ts';
import { groupNumber, type InstalledNetd } from '../../../electron/core/check/installed-netd.ts';
import type { HostScopeGround } from '../../../electron/core/net/host-scope.ts';

const installed = '/usr/libexec/tapyard/host/tapyard-netd';
const setcap = `setcap cap_net_admin,cap_net_raw,cap_net_bind_service+ep ${installed}`;
const ground = (part: Partial<HostScopeGround> = {}): HostScopeGround => ({
  root: false,
  isProgram: () => true,
  exists: () => true,
  find: (name) => `/usr/bin/${name}`,
  own: () => '/checkout/tapyard-netd',
  ownPolicy: () => undefined,
  ...part,
});
/** As the commands of the documentation install it, for a group that this user is in. */
const netd = (part: Partial<InstalledNetd> = {}): InstalledNetd => ({
  gid: 4711,
  mode: 0o750,
  unsafe: undefined,
  groups: [1000, 4711],
  tapyard: 4711,
  program: (name) => `/usr/sbin/${name}`,
  ...part,
});
const says = (code: string, part: Partial<InstalledNetd> = {}) => ({
  netd: netd(part),
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
    expect(lost.fixes.map(({ command }) => command)).toEqual([`sudo /usr/sbin/${setcap}`]);
    expect(lost.mend).toEqual([`/usr/sbin/${setcap}`.split(' ')]);
    expect(judge(ground(), says('UNSAFE_PATH')).found).toContain('because UNSAFE_PATH');
    expect(judge(ground(), { ...says(''), answer: undefined }).found).toContain('says nothing');
  });

  it('offers no way that no_new_privs closes', () => {
    const outside = ground({ isProgram: (path) => path !== installed });
    for (const found of [
      judge(ground(), { ...says('NO_PRIVILEGE'), noNewPrivileges: true }),
      judge(outside, { netd: undefined, answer: undefined, noNewPrivileges: true }),
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
    const none = { netd: undefined, answer: undefined, noNewPrivileges: false };
    expect(judge(ground({ root: true }), none)).toMatchObject({ state: 'ok' });
    const outside = ground({ isProgram: (path) => path !== installed });
    expect(judge(outside, none)).toMatchObject({
      state: 'ok',
      found: expect.stringContaining('polkit asks'),
    });
    const alone = ground({ isProgram: () => false, find: () => undefined });
    expect(judge(alone, { ...none, netd: netd() }).fixes[0]?.command).toContain('usermod -aG "$(stat');
    const bare = judge(alone, none);
    expect(bare.found).toContain('pkexec is not installed');
    expect(bare.fixes[0]?.command).toContain('setcap');
  });
});

describe('an installed helper that its group may not run', () => {
  const closed = ground({ isProgram: (path) => path !== installed, find: () => undefined });
  const found = (part: Partial<InstalledNetd>) =>
    judge(closed, { ...says('', { mode: 0o640, ...part }), answer: undefined });

  it('gets its mode back, and a member is not told to join', () => {
    const finding = found({});
    expect(finding.found).toContain('its group may not run it');
    expect(finding.mend?.[0]).toEqual(['/usr/sbin/chmod', '0750', installed]);
    expect(finding.fixes.map(({ command }) => command).join()).not.toContain('usermod');
  });

  it('gets it back first where the user is not in the group', () => {
    const finding = found({ groups: [1000] });
    expect(finding.found).toContain('its group may not run it');
    expect(finding.mend).toBeUndefined();
    const command = `sudo chmod 0750 ${installed}\nstat -c %G ${installed}\nsudo usermod -aG "$(stat -c %G ${installed})" "$USER"`;
    expect(finding.fixes.map((fix) => fix.command)).toEqual([command]);
  });

  it('gets nothing where others than root can change it', () => {
    const finding = found({ unsafe: '/usr/libexec can be written by a group' });
    expect(finding.found).toContain('/usr/libexec can be written by a group');
    expect(finding.fixes.map(({ command }) => command)).toEqual([`namei -l ${installed}`]);
  });
});

describe('what Tapyard mends of the installed helper', () => {
  const lost = (part: Partial<InstalledNetd>) => judge(ground(), says('NO_PRIVILEGE', part));
  const [, cap = '', file = ''] = setcap.split(' ');

  it('is its group, its mode and then its capabilities, where a group of the user is to have it', () => {
    const all = [
      ['/usr/sbin/chgrp', 'tapyard', file],
      ['/usr/sbin/chmod', '0750', file],
      ['/usr/sbin/setcap', cap, file],
    ];
    // As a package or cp writes it.
    expect(lost({ gid: 0, mode: 0o755 }).mend).toEqual(all);
    // Its own group stays, whatever it is called.
    expect(lost({ gid: 1000, mode: 0o755 }).mend).toEqual(all.slice(1));
    expect(lost({ mode: 0o4750 }).mend).toEqual(all.slice(1));
    expect(lost({ mode: 0o710 }).mend).toEqual(all.slice(2));
    const outside = ground({ isProgram: (path) => path !== installed });
    const closed = judge(outside, { ...says('', { gid: 0 }), answer: undefined });
    expect(closed.mend).toEqual([all[0], all[2]]);
    for (const { fixes, mend } of [lost({ gid: 0, mode: 0o755 }), closed])
      expect(fixes).toEqual([
        {
          text: 'Give them back:',
          command: mend?.map((command) => `sudo ${command.join(' ')}`).join('\n'),
          mend: 'host-scope',
        },
      ]);
  });

  it('is nothing that would give somebody what they had not', () => {
    for (const finding of [
      lost({ gid: 0, mode: 0o755, tapyard: undefined }),
      lost({ gid: 0, mode: 0o755, groups: [1000] }),
      lost({ mode: 0o755, groups: [1000] }),
    ]) {
      expect(finding).toMatchObject({
        state: 'warning',
        fixes: [{ text: expect.stringMatching(/one group/) }],
      });
      expect(finding.mend).toBeUndefined();
      expect(finding.fixes[0]?.mend).toBeUndefined();
    }
    const outside = ground({ isProgram: (path) => path !== installed, find: () => undefined });
    const stranger = { ...says('', { groups: [1000] }), answer: undefined };
    expect(judge(outside, stranger).mend).toBeUndefined();
    // Nobody is told to join the group of root.
    const roots = { ...says('', { gid: 0, groups: [1000] }), answer: undefined };
    expect(judge(outside, roots).fixes[0]?.command).not.toContain('usermod -aG "$(stat');
  });

  it('is nothing that others than root can change', () => {
    const finding = lost({ unsafe: '/usr/libexec can be written by a group' });
    expect(finding.found).toContain('/usr/libexec can be written by a group');
    expect(finding.mend).toBeUndefined();
    expect(finding.fixes.map(({ command }) => command)).toEqual([`namei -l ${installed}`]);
  });

  it('is nothing by a program that is not there, or not root’s', () => {
    const finding = lost({ program: (name) => (name === 'setcap' ? undefined : `/usr/bin/${name}`) });
    expect(finding.mend).toBeUndefined();
    expect(finding.fixes).toEqual([
      { text: expect.stringContaining('libcap2-bin'), command: `sudo ${setcap}` },
    ]);
  });

  it('reads the number of the group', () => {
    const text = 'root:x:0:\ntapyards:x:1:\ntapyard:x:981:ada\nx:tapyard:3:\n';
    expect(groupNumber(text, 'tapyard')).toBe(981);
    expect(groupNumber('tapyard:x::\n', 'tapyard')).toBeUndefined();
    expect(groupNumber('', 'tapyard')).toBeUndefined();
  });
});
