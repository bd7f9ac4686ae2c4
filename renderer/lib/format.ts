// SPDX-License-Identifier: Apache-2.0

/** A bit rate as the map writes it: `0`, `310 kb/s`, `4.2 Mb/s`. Decimal units, as network people count. */
export function formatRate(bitsPerSecond: number): string {
  if (!(bitsPerSecond >= 1)) return '0';
  if (bitsPerSecond < 1000) return `${Math.round(bitsPerSecond)} b/s`;
  for (const [unit, size] of [
    ['kb/s', 1e3],
    ['Mb/s', 1e6],
    ['Gb/s', 1e9],
  ] as const) {
    const value = bitsPerSecond / size;
    // 999.6 rounds up to 1000, which the next unit says better.
    if (value < 999.5 || unit === 'Gb/s')
      return `${value < 9.95 ? trimZero(value.toFixed(1)) : Math.round(value)} ${unit}`;
  }
  return '';
}

const trimZero = (text: string): string => text.replace(/\.0$/, '');

/** An amount of memory in binary units: `256 MiB`, `2 GiB`. */
export function formatBytes(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${trimZero(value.toFixed(value < 10 ? 1 : 0))} ${units[unit] ?? ''}`;
}

/** How long something has lasted: `8 s`, `12 min`, `3 h 5 min`, `2 d 4 h`. */
export function formatDuration(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return minutes % 60 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
  const days = Math.floor(hours / 24);
  return hours % 24 ? `${days} d ${hours % 24} h` : `${days} d`;
}

/** The time that a step took: `0.3 ms`, `61 ms`, `2.4 s`. */
export function formatMs(ms: number): string {
  if (ms < 9.95) return `${ms.toFixed(1)} ms`;
  if (ms < 999.5) return `${Math.round(ms)} ms`;
  return `${(ms / 1000).toFixed(1)} s`;
}

/** A text with its middle left out, at most `max` characters: both ends of a name tell it from its neighbours. */
export function elideMiddle(text: string, max: number): string {
  const characters = Array.from(text);
  if (characters.length <= max) return text;
  const head = Math.ceil((max - 1) / 2);
  const tail = max - 1 - head;
  return `${characters.slice(0, head).join('')}…${tail > 0 ? characters.slice(-tail).join('') : ''}`;
}

/** `1 guest`, `3 guests`. */
export function count(number: number, one: string, many = `${one}s`): string {
  return `${number} ${number === 1 ? one : many}`;
}
