// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from 'vitest';
import {
  jitterProblem,
  ShapeDefinition,
  shapeNumbers,
  shapeOf,
  shapeText,
} from '../../../electron/contract/shape.ts';
import { readLabFile } from '../../../electron/core/lab/definition.ts';
import { withShape } from '../../../electron/core/lab/edit.ts';
import { shapeCommands } from '../../../electron/core/lab/recipe-shape.ts';
import { formShape, shapeErrors, shapeForm } from '../../../renderer/features/inspector/shape-form.ts';

const file = (shape: string): string => `name: seed
networks:
  br0: { subnet: 192.168.57.0/24 }
guests:
  web: { image: micro, nics: [{ network: br0, shape: ${shape} }] }
`;

const problems = (shape: string): string[] =>
  readLabFile(new TextEncoder().encode(file(shape))).problems.map(
    ({ line, column, path, message, expected }) => `${line}:${column} ${path}: ${message} | ${expected}`,
  );

describe('a shape', () => {
  it.each([
    ['rate: 10mbit, delay: 20ms, jitter: 5ms, loss: 1%', [10_000_000, 20_000, 5000, 10_000]],
    ['rate: 8kbit', [8000, 0, 0, 0]],
    ['rate: 1500mbit, loss: 0.0001%', [1_500_000_000, 0, 0, 1]],
    ['rate: 12344bit, delay: 0.5ms, loss: 100%', [12_344, 500, 0, 1_000_000]],
  ])('{ %s } of the lab file is these numbers, and read again it is the same', (shape, numbers) => {
    const { definition } = readLabFile(new TextEncoder().encode(file(`{ ${shape} }`)));
    const read = definition?.guests['web']?.nics[0]?.shape ?? {};
    const [rate = 0, delay = 0, jitter = 0, loss = 0] = numbers;
    expect(shapeNumbers(read)).toEqual({ rate, delay, jitter, loss });
    expect(shapeOf(shapeNumbers(read))).toEqual(read);
  });

  it('is what it says, however it is written', () => {
    expect(shapeNumbers({ rate: '1.5gbit' })).toEqual(shapeNumbers({ rate: '1500mbit' }));
    // The kernel counts bytes.
    expect(shapeNumbers({ rate: '12345bit' }).rate).toBe(12_344);
  });

  it.each([
    [
      '{ rate: 10 }',
      '5:62 guests.web.nics.0.shape.rate: "rate" is 10, which is the wrong type | a rate such as 512kbit, 10mbit or 1gbit, from 8kbit to 10gbit',
    ],
    [
      '{ rate: 10Mbit }',
      '5:62 guests.web.nics.0.shape.rate: "10Mbit" is not possible here: a rate such as 512kbit, 10mbit or 1gbit, from 8kbit to 10gbit | a rate such as 512kbit, 10mbit or 1gbit, from 8kbit to 10gbit',
    ],
    [
      '{ delay: 2s }',
      '5:63 guests.web.nics.0.shape.delay: "2s" is not possible here: a delay such as 20ms, at most 10000ms | a delay such as 20ms, at most 10000ms',
    ],
    [
      '{ loss: 101% }',
      '5:62 guests.web.nics.0.shape.loss: "101%" is not possible here: a loss such as 1% or 0.5% | a loss such as 1% or 0.5%',
    ],
    [
      '{ jitter: 5ms }',
      '5:64 guests.web.nics.0.shape.jitter: a jitter is of a delay, and there is none | a jitter such as 5ms, at most the delay',
    ],
    [
      '{ delay: 5ms, jitter: 6ms }',
      '5:76 guests.web.nics.0.shape.jitter: a jitter of 6ms is more than the delay, 5ms | a jitter such as 5ms, at most the delay',
    ],
    [
      '{ speed: 10mbit }',
      '5:56 guests.web.nics.0.shape.speed: "speed" is not a key of NIC 0 of guest web | one of rate, delay, jitter, loss',
    ],
  ])('%s is refused at its place', (shape, problem) => {
    expect(problems(shape)).toEqual([problem]);
  });

  it('comes into a file and goes, and nothing else changes', () => {
    const bare = file('').replace(', shape: ', '');
    const shaped = withShape(bare, 'web', 0, { rate: '10mbit', delay: '20ms' });
    expect(shaped).toBe(bare.replace('network: br0', 'network: br0, shape: { rate: 10mbit, delay: 20ms }'));
    expect(withShape(shaped, 'web', 0, {})).toBe(bare);
  });

  it('is told in a line', () => {
    const all = ShapeDefinition.parse({ rate: '10mbit', delay: '20ms', jitter: '5ms', loss: '1%' });
    expect(shapeText(all)).toBe('10mbit, 20ms ± 5ms, 1% lost');
    expect(shapeText({})).toBe('');
    expect(jitterProblem(all)).toBeUndefined();
  });

  it('is in the recipe in the words that netd uses', () => {
    const tap = { tap: 'tap0', mac: 'fe:54:00:00:00:02', alias: 'a', mtu: 1500 };
    const words = (shape: ShapeDefinition): string =>
      shapeCommands(tap, shape)[0]?.replace('tc qdisc replace dev tap0 root ', '') ?? '';
    // As native/netd/src/rtnl/qdisc.rs has them (`in_the_words_of_tc`).
    expect(words({ rate: '10mbit' })).toBe('tbf rate 10000000bit burst 12500 limit 75000');
    expect(words({ rate: '8kbit' })).toBe('tbf rate 8000bit burst 3036 limit 15180');
    expect(words({ delay: '20.5ms' })).toBe('netem limit 5764 delay 20500us');
    expect(words({ rate: '10mbit', delay: '20ms', jitter: '5ms', loss: '1.2345%' })).toBe(
      'netem limit 61 delay 20000us 5000us loss 1.2345% rate 10000000bit',
    );
  });

  it('is checked as it is typed', () => {
    const form = shapeForm({ rate: '10mbit' });
    expect(shapeErrors(form)).toEqual({});
    expect(formShape(form)).toEqual({ rate: '10mbit' });
    expect(shapeErrors({ ...form, rate: '10' })).toEqual({
      rate: 'Not a rate such as 512kbit, 10mbit or 1gbit, from 8kbit to 10gbit.',
    });
    expect(shapeErrors({ ...form, jitter: '5ms' })).toEqual({
      jitter: 'A jitter is of a delay, and there is none.',
    });
    expect(shapeErrors({ ...form, jitter: '5ms', delay: '2' })).toEqual({
      delay: 'Not a delay such as 20ms, at most 10000ms.',
    });
  });
});
