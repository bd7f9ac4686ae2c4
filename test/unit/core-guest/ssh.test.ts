// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from 'vitest';
import { sshArgv, type SshTarget } from '../../../electron/core/guest/ssh.ts';

const target: SshTarget = {
  guest: 'web',
  lab: 'seed',
  address: '192.168.57.2',
  micro: true,
  user: undefined,
  privateKey: '/home/a b/100%/id_ed25519',
  knownHosts: '/home/a b/known_hosts',
  netdSocket: '/run/user/1000/tapyard/netd.sock',
  tap: '/opt/it is/50%/tapyard-tap',
};

describe('the command line of ssh', () => {
  it('goes through tapyard-tap dial, quoted for ssh and for the shell', () => {
    expect(sshArgv(target, [])).toContain(
      "ProxyCommand='/opt/it is/50%%/tapyard-tap' dial --netd /run/user/1000/tapyard/netd.sock --lab seed 192.168.57.2 22",
    );
    expect(sshArgv(target, [])).toContain('IdentityFile="/home/a b/100%%/id_ed25519"');
  });

  it('is root in the micro guest, whose host key is new at each boot', () => {
    const words = sshArgv(target, ['ls', '-l']);
    expect(words.slice(-6)).toEqual(['-l', 'root', '--', 'web', 'ls', '-l']);
    expect(words).toContain('StrictHostKeyChecking=no');
    expect(words).toContain('UserKnownHostsFile=/dev/null');
  });

  it('keeps the host keys of other guests, and leaves the user to ssh unless told', () => {
    const words = sshArgv({ ...target, micro: false }, []);
    expect(words).toContain('StrictHostKeyChecking=accept-new');
    expect(words).toContain('UserKnownHostsFile="/home/a b/known_hosts"');
    expect(words).not.toContain('-l');
    expect(sshArgv({ ...target, micro: false, user: 'debian' }, []).slice(-4)).toEqual([
      '-l',
      'debian',
      '--',
      'web',
    ]);
  });
});
