// SPDX-License-Identifier: Apache-2.0
import { appendFileSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { documentedFiles, isParentOf, isPathOf, type Place, places, type Row } from '../world/on-disk.ts';
import { checkout, type Who, World } from '../world/world.ts';
import { diskThatSays } from './boot-media.ts';

/*
 * Each file, socket and directory of a lab that is up, and of the installed helper: its kind, owner and mode, under
 * the laxest umask. What docs/on-disk.md does not name must not be there.
 */

const lab = `name: seed
networks:
  br0: { subnet: 192.168.57.0/24, nat: true }
  open: { nat: true }
guests:
  guest:
    image: micro
    memory: 256M
    nics: [{ network: br0, address: 192.168.57.2 }]
    forwards: [{ port: 8080, to: 80 }]
  disk: { image: disk.raw, memory: 64M, nics: [] }
`;

/** The group that may run the installed helper. */
const group = 4711;

const rows = documentedFiles(readFileSync(path.join(checkout, 'docs/on-disk.md'), 'utf8'));
/** What comes to be in no lab of this test. */
const elsewhere = [
  'open-HEX.html',
  'mend.lock',
  'probe-XXXXXX/',
  'netd-host/anchor.json',
  'labs/seed.yaml',
  'labs/LAB/.ssh/known_hosts',
  'electron/',
  'accelerator.json',
];

/** One line of find(1): kind, mode, owner and path. */
interface Found {
  readonly kind: string;
  readonly mode: string;
  readonly owner: string;
  readonly path: string;
}
const kinds: Readonly<Record<string, string>> = { f: 'file', d: 'directory', s: 'socket', p: 'FIFO' };

const listing = "-ignore_readdir_race -printf '%y %m %U:%G %p\\n'";
/** What is being written at this moment: see "Half-written files". */
const halfWritten = /\/(?:\.[^/]+\.\d+\.[0-9a-f]+\.tmp|[^/]+\.new)$/;
const listed = (text: string): Found[] =>
  [...text.matchAll(/^(\w) (\d+) (\S+) (.+)$/gm)]
    .map(([, kind = '', mode = '', owner = '', where = '']) => ({
      kind: kinds[kind] ?? kind,
      mode,
      owner,
      path: where,
    }))
    .filter((each) => !halfWritten.test(each.path));

/** What find(1) lists and docs/on-disk.md does not allow, and the rows that were met. */
function compared(
  place: Place,
  top: string,
  owner: string,
  found: readonly Found[],
): { wrong: Found[]; met: Row[] } {
  const own = rows.filter((each) => each.place === place);
  const met: Row[] = [];
  const wrong = found.filter((each) => {
    const below = path.relative(top, each.path);
    const [row, ...same] = own.filter((one) => isPathOf(one, below));
    if (row !== undefined) met.push(row, ...same);
    const parent = own.some((one) => isParentOf(below, one));
    const { kind, mode } =
      row ?? (parent ? { kind: 'directory', mode: '700' } : { kind: 'nothing', mode: '' });
    return each.kind !== kind || each.mode !== mode || each.owner !== owner;
  });
  return { wrong, met };
}

const met = new Set<Row>();
let world: World;
beforeAll(() => (world = World.create()));
afterAll(() => world?.close());

function whereIs(place: Place, who: Who): string {
  const local = { data: '.local/share', state: '.local/state', cache: '.cache' };
  return place === 'runtime'
    ? path.join(world.runtimeDir(who), 'tapyard')
    : path.join(world.home(who), local[place], 'tapyard');
}

/** Brings the lab up beside a `serve`, once root has run `first`, and compares all that is there. */
async function filesOf(scope: string, who: Who, first = ''): Promise<string> {
  const file = world.file('tapyard.yaml', lab, who);
  world.file('disk.raw', diskThatSays('hello'), who);
  const uid = who === 'root' ? 0 : world.uid;
  const script = `umask 0
    export HOME=${world.home(who)} XDG_RUNTIME_DIR=${world.runtimeDir(who)} USER=tester
    as="setpriv --reuid ${uid} --regid ${uid} --groups ${group} --"
    tapyard() { $as ${world.tapyardCommand([]).join(' ')} "$@"; }
    ${first}
    $as ${world.tapyardCommand(['serve']).join(' ')} >${world.dir}/serve &
    until grep -q http ${world.dir}/serve; do sleep 0.1; done
    tapyard up ${file} --scope ${scope} >&2
    tapyard force-off disk >&2
    for place in ${places.map((place) => whereIs(place, who)).join(' ')}; do
      [ ! -e $place ] || find $place ${listing}
    done
    tapyard down >&2
    kill $!; wait`;
  const done = await world.run(['sh', '-euc', script], { as: 'root', timeout: 120_000 });
  expect(done, `${done.stdout}${done.stderr}`).toMatchObject({ code: 0 });
  const all = listed(done.stdout);
  for (const place of places) {
    const top = whereIs(place, who);
    const here = all.filter((each) => each.path === top || each.path.startsWith(`${top}/`));
    const { wrong, met: some } = compared(place, top, `${uid}:${uid}`, here);
    expect(wrong, `${place}, ${scope} scope`).toEqual([]);
    for (const row of some) met.add(row);
  }
  return done.stdout;
}

test('a lab in the private scope', async () => {
  await filesOf('private', 'user');
}, 180_000);

test('a lab in the host scope, of root', async () => {
  await filesOf('host', 'root');
}, 180_000);

test('a lab in the host scope, of a user, and what the commands install by which he may have it', async () => {
  appendFileSync(path.join(world.dir, 'etc/group'), `tapyard:x:${group}:tester\n`);
  const root = ['/usr/libexec', '/usr/share/polkit-1/actions'];
  // By the commands that the refusal prints. The group is there.
  const first = `for place in ${root.join(' ')}; do mount -t tmpfs -o mode=755 none $place; done
    sudo() { case $1 in install|setcap) "$@" ;; esac; }
    tapyard up ${world.file('tapyard.yaml', lab)} --scope host 2>${world.dir}/refused && exit 1
    grep '^ *sudo [a-z]' ${world.dir}/refused >${world.dir}/commands; cat ${world.dir}/commands >&2
    . ${world.dir}/commands
    find ${root.join(' ')} ${listing}; getcap -r /usr/libexec`;
  const said = await filesOf('host', 'user', first);
  const installed = listed(said).filter((each) => root.some((place) => each.path.startsWith(`${place}/`)));
  const found = installed.map(({ kind, mode, owner, path: at }) => `${kind} ${mode} ${owner} ${at}`);
  expect(found.sort()).toEqual([
    'directory 755 0:0 /usr/libexec/tapyard',
    'directory 755 0:0 /usr/libexec/tapyard/host',
    'file 644 0:0 /usr/share/polkit-1/actions/dev.tapyard.Tapyard.policy',
    `file 750 0:${group} /usr/libexec/tapyard/host/tapyard-netd`,
    'file 755 0:0 /usr/libexec/tapyard/tapyard-netd',
  ]);
  expect(said.match(/^\/\S+ cap_.*$/gm)).toEqual([
    '/usr/libexec/tapyard/host/tapyard-netd cap_net_bind_service,cap_net_admin,cap_net_raw=ep',
  ]);
}, 180_000);

test('every other row of docs/on-disk.md was met', () => {
  expect(rows.filter((row) => !met.has(row)).map((row) => row.path)).toEqual(elsewhere);
});
