// SPDX-License-Identifier: Apache-2.0
import type { LabRow } from '../contract/rows.ts';
import { safeLine } from './terminal.ts';

/** What is wrong with a lab's file now, each as editors and compilers write it: `FILE:LINE:COLUMN: what`. */
export const problemLines = ({ file, problems }: Pick<LabRow, 'file' | 'problems'>): string[] =>
  problems.map(({ line, column, message, expected }) => {
    const wanted = expected === undefined ? '' : `; expected: ${expected}`;
    return `${safeLine(`${file}:${line}:${column}: ${message}${wanted}`)}\n`;
  });
