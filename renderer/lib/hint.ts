// SPDX-License-Identifier: Apache-2.0

/** A piece of an error's advice: a sentence, or commands to paste, one a line. */
export interface HintPart {
  readonly kind: 'text' | 'commands';
  readonly text: string;
}

/**
 * The sentences and the commands of an advice. In one of several lines the core gives each command a line of its own,
 * and ends a sentence with a full stop or a colon.
 */
export function hintParts(hint: string): readonly HintPart[] {
  const lines = hint.split('\n');
  const parts: HintPart[] = [];
  for (const text of lines) {
    const kind = lines.length === 1 || /[.:]$/.test(text) ? 'text' : 'commands';
    const last = parts.at(-1);
    if (last?.kind === kind) parts[parts.length - 1] = { kind, text: `${last.text}\n${text}` };
    else parts.push({ kind, text });
  }
  return parts;
}
