// SPDX-License-Identifier: Apache-2.0
import { setImmediate as tick } from 'node:timers/promises';
import { expect, it, vi } from 'vitest';
import { Gauge, gaugeInterval } from '../../../electron/core/host/gauge.ts';
import { Table } from '../../../electron/core/host/table.ts';

interface Row {
  id: string;
  n: number;
}

it('tells the changes of one tick as one', async () => {
  const table = new Table<Row>();
  table.put({ id: 'a', n: 1 });
  expect(table.rows()).toEqual([{ id: 'a', n: 1 }]);
  const told: unknown[] = [];
  const following = table.subscribe((put, del) => told.push([put, del]));
  const { rev } = table;
  table.put({ id: 'a', n: 2 });
  table.put({ id: 'a', n: 3 });
  table.put({ id: 'b', n: 1 });
  table.put({ id: 'c', n: 1 });
  table.delete('c');
  await tick();
  await tick();
  expect(told).toEqual([
    [
      [
        { id: 'a', n: 3 },
        { id: 'b', n: 1 },
      ],
      [],
    ],
  ]);
  expect(table.rev).toBe(rev + 1);
  table.put({ id: 'a', n: 3 }); // as it was
  table.put({ id: 'b', n: 2 });
  table.put({ id: 'b', n: 1 }); // and back again
  table.replace([], (row) => row.id === 'b');
  await tick();
  await tick();
  expect(told.slice(1)).toEqual([[[], ['b']]]);
  expect(table.rev).toBe(rev + 2);
  following.close();
  table.delete('a');
  await tick();
  expect(told).toHaveLength(2);
});

it('samples a gauge only while somebody looks, and tells what is new', async () => {
  vi.useFakeTimers();
  let samples = 0;
  const gauge = new Gauge(
    () =>
      new Map([
        ['a', ++samples],
        ['b', 7],
      ]),
  );
  await vi.advanceTimersByTimeAsync(1000);
  expect(samples).toBe(0);
  const told: [string, number][][] = [];
  const one = gauge.subscribe((values) => told.push([...values]));
  await vi.advanceTimersByTimeAsync(gaugeInterval + 1);
  expect(told).toEqual([
    [
      ['a', 1],
      ['b', 7],
    ],
    [['a', 2]],
  ]);
  const late: [string, number][][] = [];
  const other = gauge.subscribe((values) => late.push([...values]));
  expect(late).toEqual([
    [
      ['a', 2],
      ['b', 7],
    ],
  ]);
  one.close();
  other.close();
  const before = samples;
  await vi.advanceTimersByTimeAsync(1000);
  expect(samples).toBe(before);
  vi.useRealTimers();
});
