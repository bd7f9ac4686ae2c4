// SPDX-License-Identifier: Apache-2.0

/**
 * What Tapyard needs from the distribution. `for` is left out where all need
 * it. `program` is how it is recognised where dpkg is not the package manager.
 *
 * @typedef {object} Need
 * @property {string} debian the package's name in Debian
 * @property {string} why
 * @property {string} [program] a file below one of the bin directories
 * @property {string[]} [for] which of start, test, bench need it
 * @property {Partial<Record<Family, string>>} [names] where others call it differently
 *
 * @typedef {'debian' | 'ubuntu' | 'fedora' | 'arch' | 'opensuse'} Family
 */

/** @type {Need[]} */
export const NEEDS = [
  {
    debian: 'qemu-system-x86',
    why: 'runs the guests',
    program: 'qemu-system-x86_64',
    names: { fedora: 'qemu-system-x86', arch: 'qemu-system-x86', opensuse: 'qemu-x86' },
  },
  {
    debian: 'qemu-utils',
    why: 'makes overlays of disk images (qemu-img)',
    program: 'qemu-img',
    names: { fedora: 'qemu-img', arch: 'qemu-img', opensuse: 'qemu-img' },
  },
  {
    debian: 'dnsmasq-base',
    why: 'gives guests addresses and names',
    program: 'dnsmasq',
    names: { fedora: 'dnsmasq', arch: 'dnsmasq', opensuse: 'dnsmasq' },
  },
  { debian: 'passt', why: 'connects a private lab to the internet without root (pasta)', program: 'pasta' },
  { debian: 'nftables', why: 'shows and checks the filter that netd sets', program: 'nft' },
  {
    debian: 'iproute2',
    why: 'shows and checks the links that netd makes',
    program: 'ip',
    names: { fedora: 'iproute' },
  },
  {
    debian: 'openssh-client',
    why: 'tapyard ssh, and the key of the lab',
    program: 'ssh',
    names: { fedora: 'openssh-clients', arch: 'openssh', opensuse: 'openssh-clients' },
  },
  {
    debian: 'busybox-static',
    why: 'everything in the micro guest but the kernel',
    program: 'busybox',
    names: { fedora: 'busybox', arch: 'busybox', opensuse: 'busybox-static' },
  },
  {
    debian: 'dropbear-bin',
    why: 'the ssh server of the micro guest',
    program: 'dropbear',
    names: { fedora: 'dropbear', arch: 'dropbear', opensuse: 'dropbear' },
  },
  {
    debian: 'netcat-openbsd',
    why: 'nc with UDP, for the micro guest',
    program: 'nc',
    names: { fedora: 'netcat', arch: 'openbsd-netcat' },
  },
  {
    debian: 'xz-utils',
    why: 'unpacks the modules of newer kernels for the micro guest',
    program: 'xz',
    names: { fedora: 'xz', arch: 'xz', opensuse: 'xz' },
  },
  {
    debian: 'build-essential',
    why: 'a C compiler: cargo links with it, node-pty is made of it',
    program: 'cc',
    names: { fedora: 'gcc-c++ make', arch: 'base-devel', opensuse: 'gcc-c++ make' },
  },
  {
    debian: 'python3',
    why: 'node-gyp, which builds node-pty, is written in it',
    program: 'python3',
    names: { arch: 'python' },
  },
  {
    debian: 'chromium',
    why: 'the window is tested in it',
    program: 'chromium',
    for: ['test', 'bench'],
    names: { ubuntu: 'chromium-browser' },
  },
  {
    debian: 'fonts-dejavu-core',
    why: 'letters for the screenshots',
    for: ['test', 'bench'],
    names: {
      fedora: 'dejavu-sans-fonts dejavu-sans-mono-fonts',
      arch: 'ttf-dejavu',
      opensuse: 'dejavu-fonts',
    },
  },
  {
    debian: 'iptables',
    why: 'the tutorial’s own rule, to measure beside',
    program: 'iptables',
    for: ['bench'],
  },
  { debian: 'iperf3', why: 'the speed of forwards is measured with it', program: 'iperf3', for: ['bench'] },
  {
    debian: 'pkexec',
    why: 'the host scope through polkit is tested with it',
    program: 'pkexec',
    for: ['test'],
    names: { ubuntu: 'policykit-1', fedora: 'polkit', arch: 'polkit', opensuse: 'polkit' },
  },
  {
    debian: 'dbus',
    why: 'a bus of its own for that polkit',
    program: 'dbus-daemon',
    for: ['test'],
    names: { fedora: 'dbus-daemon' },
  },
  {
    debian: 'conntrack',
    why: 'the tests look at connections with it',
    program: 'conntrack',
    for: ['test'],
    names: { fedora: 'conntrack-tools', arch: 'conntrack-tools', opensuse: 'conntrack-tools' },
  },
  {
    debian: 'kmod',
    why: 'loads the modules of the stock kernels that the tests boot',
    program: 'modprobe',
    for: ['test'],
  },
  {
    debian: 'xvfb',
    why: 'a display for the window under test',
    program: 'Xvfb',
    for: ['test'],
    names: { fedora: 'xorg-x11-server-Xvfb', arch: 'xorg-server-xvfb', opensuse: 'xorg-x11-server-Xvfb' },
  },
  { debian: 'libxss1', why: 'the Electron under test is linked with it', for: ['test'] },
  { debian: 'tcpdump', why: 'the tests look at packets with it', program: 'tcpdump', for: ['test'] },
];

/** Names that an ordinary user's PATH may not lead to. */
export const BIN_DIRECTORIES = [
  '/usr/local/sbin',
  '/usr/local/bin',
  '/usr/sbin',
  '/usr/bin',
  '/sbin',
  '/bin',
];

/**
 * The needs of one purpose.
 *
 * @param {string} purpose start, test or bench
 * @returns {Need[]}
 */
export function needsFor(purpose) {
  return NEEDS.filter((need) => !need.for || need.for.includes(purpose));
}

/**
 * The family of a distribution, from the text of /etc/os-release
 * (os-release(5): ID, and ID_LIKE for what it descends from).
 *
 * @param {string} osRelease
 * @returns {{family: Family | undefined, name: string}} name as shown to people
 */
export function distribution(osRelease) {
  const field = (key) => new RegExp(`^${key}=["']?(.*?)["']?$`, 'm').exec(osRelease)?.[1] ?? '';
  const ids = [field('ID'), ...field('ID_LIKE').split(' ')];
  const known = [
    ['ubuntu', 'ubuntu'],
    ['debian', 'debian'],
    ['fedora', 'fedora'],
    ['rhel', 'fedora'],
    ['arch', 'arch'],
    ['suse', 'opensuse'],
    ['opensuse', 'opensuse'],
  ];
  const id = ids.find((one) => known.some(([prefix]) => one.startsWith(prefix)));
  const family = known.find(([prefix]) => id?.startsWith(prefix))?.[1];
  return { family, name: field('PRETTY_NAME') || field('ID') || 'this system' };
}

/**
 * The command that installs the needs on a distribution of that family.
 *
 * @param {Family} family
 * @param {Need[]} needs
 * @returns {string[]} program and arguments, without sudo
 */
export function installCommand(family, needs) {
  const names = needs.flatMap((need) => (need.names?.[family] ?? need.debian).split(' '));
  const installers = {
    // Recommended packages are left out: they bring sound, desktops and services.
    debian: ['apt-get', 'install', '-y', '--no-install-recommends'],
    ubuntu: ['apt-get', 'install', '-y', '--no-install-recommends'],
    fedora: ['dnf', 'install', '-y'],
    arch: ['pacman', '-S', '--needed'],
    opensuse: ['zypper', 'install', '-y'],
  };
  return [...installers[family], ...new Set(names)];
}

/**
 * The Debian packages that are not installed.
 *
 * @param {Need[]} needs
 * @param {string} query output of `dpkg-query -W -f '${Package} ${db:Status-Status}\n'`
 * @returns {Need[]}
 */
export function missingPackages(needs, query) {
  const installed = new Set([...query.matchAll(/^(\S+) installed$/gm)].map((match) => match[1]));
  return needs.filter((need) => !installed.has(need.debian));
}
