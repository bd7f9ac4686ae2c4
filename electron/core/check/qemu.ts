// SPDX-License-Identifier: Apache-2.0
import { TapyardError } from '../../contract/error.ts';
import { runProgram } from '../host/process.ts';
import { qemuProgram } from '../host/programs.ts';
import { type Check, failed, type Finding, ok, warning } from './check.ts';

/** QEMU's version such as `7.2.22`; null where it is not installed, does not say, or at an abort. */
export async function qemuVersion(abort: AbortSignal): Promise<string | null> {
  try {
    return await versionOf(qemuProgram('qemu-system-x86_64'), abort);
  } catch {
    return null;
  }
}

async function versionOf(program: string, abort?: AbortSignal): Promise<string | null> {
  const options = { deadlineMs: 10_000, ...(abort === undefined ? {} : { abort }) };
  const { stdout } = await runProgram(program, ['--version'], options);
  return /version (\d[\w.]*)/.exec(stdout)?.[1] ?? null;
}

async function lookAt(name: 'qemu-system-x86_64' | 'qemu-img', missing: typeof failed): Promise<Finding> {
  let program: string;
  try {
    program = qemuProgram(name);
  } catch (thrown) {
    const { message, hint } = TapyardError.from(thrown);
    const packages = name === 'qemu-img' ? 'qemu-utils' : 'qemu-system-x86';
    return missing(message, { text: hint ?? 'Install it:', command: `sudo apt install ${packages}` });
  }
  const version = await versionOf(program);
  if (version === null)
    return missing(`${program} does not run.`, {
      text: 'See what it says:',
      command: `${program} --version`,
    });
  return ok(`QEMU ${version} (${program})`);
}

/** The machine that guests run in. */
export const qemu: Check = {
  id: 'qemu',
  title: 'QEMU',
  look: () => lookAt('qemu-system-x86_64', failed),
};

/** Makes the overlays of disk images; the micro guest needs none. */
export const qemuImg: Check = {
  id: 'qemu-img',
  title: 'qemu-img, for disk images',
  look: () => lookAt('qemu-img', warning),
};
