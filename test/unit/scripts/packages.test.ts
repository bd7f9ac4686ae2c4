// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from 'vitest';

import {
  distribution,
  installCommand,
  missingPackages,
  NEEDS,
  needsFor,
} from '../../../scripts/setup/packages.mjs';
import { packagesOf } from '../../../scripts/setup/unpacked.mjs';
import { isNewEnough } from '../../../scripts/setup/rust.mjs';

describe('distribution', () => {
  it.each([
    ['PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nID=debian\n', 'debian', 'Debian GNU/Linux 12 (bookworm)'],
    // Ubuntu descends from Debian, but its kernels and its chromium differ.
    ['PRETTY_NAME="Ubuntu 24.04 LTS"\nID=ubuntu\nID_LIKE=debian\n', 'ubuntu', 'Ubuntu 24.04 LTS'],
    ['ID=linuxmint\nID_LIKE="ubuntu debian"\n', 'ubuntu', 'linuxmint'],
    ['ID="rocky"\nID_LIKE="rhel centos fedora"\n', 'fedora', 'rocky'],
    ['ID="opensuse-tumbleweed"\nID_LIKE="opensuse suse"\n', 'opensuse', 'opensuse-tumbleweed'],
    ['ID=manjaro\nID_LIKE=arch\n', 'arch', 'manjaro'],
    ['ID=gentoo\n', undefined, 'gentoo'],
    ['', undefined, 'this system'],
  ])('reads %j', (text, family, name) => {
    expect(distribution(text)).toEqual({ family, name });
  });
});

describe('missingPackages', () => {
  it('takes only what dpkg calls installed', () => {
    const query = 'nftables installed\npasst config-files\nqemu-utils half-configured\n';
    const needs = NEEDS.filter((need) =>
      ['nftables', 'passt', 'qemu-utils', 'iproute2'].includes(need.debian),
    );
    expect(missingPackages(needs, query).map((need) => need.debian)).toEqual([
      'qemu-utils',
      'passt',
      'iproute2',
    ]);
  });
});

describe('needs', () => {
  it('asks for a browser only where tests or benchmarks run', () => {
    const names = (purpose: string): string[] => needsFor(purpose).map((need) => need.debian);
    expect(names('start')).not.toContain('chromium');
    expect(names('test')).toContain('chromium');
    expect(names('bench')).toContain('chromium');
  });

  it('gives a reason for each', () => {
    for (const need of NEEDS) expect(need.why, need.debian).toMatch(/\w{3}/);
  });

  it('writes the command of each family', () => {
    const passt = NEEDS.filter((need) => need.debian === 'passt');
    expect(installCommand('debian', passt).join(' ')).toBe(
      'apt-get install -y --no-install-recommends passt',
    );
    expect(installCommand('arch', passt).join(' ')).toBe('pacman -S --needed passt');
    expect(installCommand('fedora', NEEDS)).toContain('qemu-img');
  });
});

describe('packagesOf', () => {
  it('reads what apt would fetch', () => {
    const output = `Reading package lists...
'http://deb.debian.org/debian/pool/main/u/ufw/ufw_0.36.2-1_all.deb' ufw_0.36.2-1_all.deb 167940 MD5Sum:1
'http://deb.debian.org/debian/pool/main/d/docker.io/docker.io_20.10.24%2bdfsg1-1_amd64.deb' docker.io_20.10.24+dfsg1-1_amd64.deb 36256664 MD5Sum:2
`;
    expect(packagesOf(output)).toEqual(['docker.io', 'ufw']);
    expect(packagesOf('E: Unable to locate package')).toEqual([]);
  });
});

describe('isNewEnough', () => {
  it.each([
    ['1.63.0+dfsg1-2', false],
    ['1.84.1', false],
    ['1.85.0+dfsg3-1~deb12u3', true],
    ['rustc 1.95.0 (59807616e 2026-04-14)', true],
    ['2.0.0', true],
    ['(none)', false],
    ['', false],
  ])('%s: %s', (version, expected) => {
    expect(isNewEnough(version)).toBe(expected);
  });
});
