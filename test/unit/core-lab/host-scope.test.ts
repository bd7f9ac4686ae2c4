// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from 'vitest';
import {
  type HostScopeGround,
  hostScopeDenied,
  polkitLacks,
  hostScopeWays,
  pkexecRefusal,
} from '../../../electron/core/net/host-scope.ts';

const ground = (part: Partial<HostScopeGround> = {}): HostScopeGround => ({
  root: false,
  isProgram: () => true,
  exists: () => true,
  find: (name) => `/usr/bin/${name}`,
  own: () => '/checkout/tapyard-netd',
  ownPolicy: () => '/checkout/my policy',
  ...part,
});

describe('the ways to the host scope', () => {
  it('are tried from the one that asks nobody to the one that asks', () => {
    expect(hostScopeWays(ground()).map(({ kind, command }) => [kind, ...command])).toEqual([
      ['group', '/usr/libexec/tapyard/host/tapyard-netd'],
      ['polkit', '/usr/bin/pkexec', '/usr/libexec/tapyard/tapyard-netd'],
    ]);
    expect(hostScopeWays(ground({ root: true })).map(({ command }) => command)).toEqual([
      ['/checkout/tapyard-netd'],
    ]);
  });

  it('leave out what is not installed: pkexec is a package of its own, and useless without our policy', () => {
    const kinds = (part: Partial<HostScopeGround>): string[] =>
      hostScopeWays(ground(part)).map(({ kind }) => kind);
    expect(kinds({ find: () => undefined })).toEqual(['group']);
    expect(kinds({ exists: () => false })).toEqual(['group']);
    expect(kinds({ isProgram: () => false })).toEqual([]);
  });

  it('say what polkit lacks to be asked, and how to get it', () => {
    const lacks = (part: Partial<HostScopeGround>): string[] =>
      polkitLacks(ground(part)).map(({ what, fix }) => `${what}: ${fix}`);
    expect(lacks({})).toEqual([]);
    expect(lacks({ find: () => undefined })).toEqual([
      expect.stringMatching(/^pkexec is not installed: .*apt/),
    ]);
    expect(lacks({ exists: () => false })).toEqual([
      "/usr/share/polkit-1/actions/dev.tapyard.Tapyard.policy is missing: sudo install -D -m 0644 '/checkout/my policy' /usr/share/polkit-1/actions/dev.tapyard.Tapyard.policy",
    ]);
    expect(lacks({ exists: () => false, ownPolicy: () => undefined })[0]).toContain('install that again');
    expect(lacks({ isProgram: () => false })).toEqual([
      '/usr/libexec/tapyard/tapyard-netd is missing: sudo install -D -m 0755 /checkout/tapyard-netd /usr/libexec/tapyard/tapyard-netd',
    ]);
    const bare = ground({ find: () => undefined, exists: () => false, isProgram: () => false });
    const denied = hostScopeDenied('/run/netd', undefined, bare);
    for (const { what, fix } of polkitLacks(bare)) {
      expect(denied.message).toContain(what);
      expect(denied.hint).toContain(fix);
    }
  });

  it('tell a user who is not of the group that may run the installed helper', () => {
    const outside = ground({ isProgram: (path) => !path.includes('/host/') });
    expect(hostScopeDenied('/run/netd', undefined, outside).message).toContain('you are not in its group');
  });

  it('say whether the question was closed, refused, or nobody was there', () => {
    expect(pkexecRefusal(126, 'Request dismissed')).toMatchObject({ code: 'HOST_SCOPE_DISMISSED' });
    expect(pkexecRefusal(127, 'Not authorized')?.message).toContain('polkit does not allow');
    expect(pkexecRefusal(127, 'No authentication agent found.')?.message).toContain('Nobody could be asked');
    expect(
      pkexecRefusal(127, 'Error getting authority: Error initializing authority: Could not connect')?.message,
    ).toContain('polkit does not answer');
    expect(pkexecRefusal(1, '')).toBeUndefined();
    const { hint } = hostScopeDenied('/run/user/1000/tapyard/netd-host');
    expect(hint).toContain('sudo -b');
    expect(hint).toContain('--scope host --dir /run/user/1000/tapyard/netd-host');
    expect(hint).toContain('--scope private');
    expect(hostScopeDenied('/tmp/new comer/netd-host').hint).toContain("--dir '/tmp/new comer/netd-host'");
  });
});
