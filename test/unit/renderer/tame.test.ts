// SPDX-License-Identifier: Apache-2.0
// @vitest-environment happy-dom
import { Terminal } from '@xterm/xterm';
import { describe, expect, it } from 'vitest';
import { tame } from '../../../renderer/features/consoles/tame.ts';

/** What a tamed terminal answers to some output, and what it shows and is called afterwards. */
async function show(
  output: string,
  mayAnswer: boolean,
): Promise<{ answers: string; line: string; title: string | undefined }> {
  const terminal = new Terminal({ cols: 60, rows: 5 });
  tame(terminal, () => mayAnswer);
  let answers = '';
  let title: string | undefined;
  terminal.onData((text) => (answers += text));
  terminal.onTitleChange((text) => (title = text));
  await new Promise<void>((resolve) => terminal.write(output, resolve));
  const line = terminal.buffer.active.getLine(0)?.translateToString(true) ?? '';
  terminal.dispose();
  return { answers, line, title };
}

const asks: Readonly<Record<string, string>> = {
  'where the cursor is (busybox does at each prompt)': '\u001b[6n',
  'device attributes': '\u001b[c',
  'secondary device attributes': '\u001b[>c',
  status: '\u001b[5n',
  'a private status': '\u001b[?6n',
  'a mode': '\u001b[?25$p',
  'the version': '\u001b[>q',
  'the size': '\u001b[18t',
  'a setting': '\u001bP$qm\u001b\\',
  'a colour': '\u001b]11;?\u0007',
};

describe('a tamed terminal', () => {
  it.each(Object.entries(asks))('types nothing when the record asks for %s', async (_, ask) => {
    expect((await show(`a${ask}b`, false)).answers).toBe('');
  });

  it('answers where the cursor is while the user is there', async () => {
    expect((await show('ab\u001b[6n', true)).answers).toBe('\u001b[1;3R');
  });

  it.each([
    ['a title', '\u001b]0;sudo password?\u0007'],
    ['an icon title', '\u001b]2;x\u001b\\'],
    ['the clipboard', '\u001b]52;c;cm0gLXJmIC8=\u0007'],
    ['a question for the clipboard', '\u001b]52;c;?\u0007'],
    ['a link', '\u001b]8;;https://evil.example\u0007text\u001b]8;;\u0007'],
    ['a notification', '\u001b]9;hello\u0007'],
  ])('ignores %s', async (_, sequence) => {
    const { answers, title, line } = await show(`a${sequence}b`, true);
    expect(title).toBeUndefined();
    expect(answers).toBe('');
    expect(line.replace('text', '')).toBe('ab');
  });

  it('still shows text and colours', async () => {
    expect((await show('\u001b[31mred\u001b[0m plain', false)).line).toBe('red plain');
  });
});
