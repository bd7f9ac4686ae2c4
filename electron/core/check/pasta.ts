// SPDX-License-Identifier: Apache-2.0
import { runProgram } from '../host/process.ts';
import { findProgram } from '../host/programs.ts';
import { type Check, ok, warning } from './check.ts';

/** Whether the private scope has a way out. */
export const pasta: Check = {
  id: 'pasta',
  title: 'pasta, the uplink of the private scope',
  async look() {
    const program = findProgram('pasta');
    const install = {
      text: 'Install it (Debian, Ubuntu, Fedora, Arch: passt):',
      command: 'sudo apt install passt',
    };
    if (program === undefined)
      return warning('pasta is not installed: labs in the private scope come up without an uplink.', install);
    const { code, stdout, stderr } = await runProgram(program, ['--version'], { deadlineMs: 5_000 });
    if (code !== 0) return warning(`pasta does not run: ${(stderr || stdout).trim().slice(0, 300)}`, install);
    const said = firstLine(stdout) || (await lineBuffered(program)) || '';
    const version = /^pasta\s+(?!unknown)(\S+)/.exec(said)?.[1] ?? (await packageVersion());
    return ok(version === undefined ? `pasta (${program})` : `pasta ${version} (${program})`);
  },
};

const firstLine = (text: string): string => (text.split('\n')[0] ?? '').trim();

/** That of 2025 leaves by _exit() with its words still in the buffer that a pipe has and a terminal has not. */
async function lineBuffered(program: string): Promise<string | undefined> {
  const stdbuf = findProgram('stdbuf');
  if (stdbuf === undefined) return undefined;
  const { code, stdout } = await runProgram(stdbuf, ['-oL', program, '--version'], { deadlineMs: 5_000 });
  return code === 0 ? firstLine(stdout) : undefined;
}

/** Debian 12's says "unknown version" of itself. */
async function packageVersion(): Promise<string | undefined> {
  const asked = [
    ['dpkg-query', '-W', '-f', '${Version}', 'passt'],
    ['rpm', '-q', '--qf', '%{VERSION}-%{RELEASE}', 'passt'],
  ] as const;
  for (const [name, ...args] of asked) {
    const program = findProgram(name);
    if (program === undefined) continue;
    const { code, stdout } = await runProgram(program, args, { deadlineMs: 5_000 });
    if (code === 0 && stdout.trim() !== '') return stdout.trim();
  }
  return undefined;
}
