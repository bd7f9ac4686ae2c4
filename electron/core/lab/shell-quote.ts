// SPDX-License-Identifier: Apache-2.0

/**
 * A word for a POSIX shell (XCU 2.2): as it is where nothing in it means anything to the shell, else in
 * single quotes.
 */
export function shellWord(word: string): string {
  if (/^[A-Za-z0-9_@%+=:,./-]+$/.test(word)) return word;
  return `'${word.replaceAll("'", "'\\''")}'`;
}

/** A command line of words. */
export const shellCommand = (words: readonly string[]): string => words.map(shellWord).join(' ');

/**
 * A command line that is broken before its options, for reading. The lines that follow are indented.
 */
export function shellLines(words: readonly string[]): string {
  const lines: string[] = [];
  for (const word of words) {
    const quoted = shellWord(word);
    if (lines.length === 0 || word.startsWith('-')) lines.push(quoted);
    else lines[lines.length - 1] += ` ${quoted}`;
  }
  return lines.join(' \\\n  ');
}

/** Text as comment lines; a newline in it cannot end the comment. */
export const shellComment = (text: string): string =>
  text
    .split(/[\r\n]/)
    .map((line) => `# ${line}`.trimEnd())
    .join('\n');
