// SPDX-License-Identifier: Apache-2.0
// Loaded ahead of a core (NODE_OPTIONS=--import=…): counts what that is about to do outside its process, from when
// the file $TAPYARD_TEST_FAULT appears, and kills it before the step of the number in that file. The steps are
// found by running: writing, renaming and removing files (but those of what was), starting programs, and every
// message to the network helper, to QEMU or to a process of its own that is not known to be a question. What it
// was about to do is left in the file with .point behind its name.
import child_process from 'node:child_process';
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import net from 'node:net';

const file = process.env.TAPYARD_TEST_FAULT;
const { existsSync, readFileSync, writeFileSync } = fs;

/** Verbs of netd's and commands of QEMU's that change nothing. */
const questions = new Set(['hello', 'observe', 'counters', 'acts', 'qmp_capabilities', 'qom-list']);

/** What a core only tells by them. */
const records = /\/(acts\.jsonl|step-times\.json)/;

let done = 0;

function step(what) {
  let at;
  try {
    at = Number(readFileSync(file, 'utf8'));
  } catch {
    done = 0;
    return;
  }
  done += 1;
  if (done < at) return;
  writeFileSync(`${file}.point`, what);
  process.kill(process.pid, 'SIGKILL');
}

let within = 0;

/** Has `of[name]` be a step, where `is` says so of its arguments; what Node does to that end is none of its own. */
function wrap(of, name, is = () => true) {
  const act = of[name];
  of[name] = function (...words) {
    if (within === 0 && !records.test(String(words[0])) && is(...words))
      step(`${name} ${typeof words[0] === 'string' ? words[0] : ''}`);
    within += 1;
    try {
      return act.apply(this, words);
    } finally {
      within -= 1;
    }
  };
}

const changes = ['appendFile', 'chmod', 'copyFile', 'link', 'rename', 'rm', 'rmdir', 'truncate'];
for (const name of [...changes, 'unlink', 'writeFile']) {
  wrap(fs, `${name}Sync`);
  wrap(fs.promises, name);
}
wrap(fs, 'ftruncateSync');
wrap(fs, 'mkdirSync', (path) => !existsSync(path));
wrap(fs.promises, 'mkdir', (path) => !existsSync(path));

const writes = (_path, flags = 'r') =>
  typeof flags === 'string' ? flags !== 'r' : (flags & (fs.constants.O_CREAT | fs.constants.O_TRUNC)) !== 0;
wrap(fs, 'openSync', writes);
wrap(fs.promises, 'open', writes);
const handle = await fs.promises.open('/dev/null');
for (const name of ['appendFile', 'truncate', 'writeFile']) wrap(Object.getPrototypeOf(handle), name);
await handle.close();

const { spawn } = child_process;
child_process.spawn = (...words) => {
  const child = spawn(...words);
  for (const name of ['write', 'end']) if (child.stdin) wrap(child.stdin, name);
  return child;
};
wrap(child_process, 'spawn');
wrap(child_process, 'execFile');

/** What a message asks for, '' for a question. */
function asked(message) {
  try {
    const { verb, execute } = JSON.parse(String(message));
    const word = verb ?? execute ?? 'message';
    return questions.has(word) || word.startsWith('query-') ? '' : word;
  } catch {
    return 'message';
  }
}

for (const name of ['connect', 'createConnection']) {
  const act = net[name];
  net[name] = (...words) => {
    const socket = act(...words);
    const { write } = socket;
    socket.write = (...message) => {
      const word = asked(message[0]);
      if (word !== '') step(word);
      return write.apply(socket, message);
    };
    return socket;
  };
}
syncBuiltinESMExports();
