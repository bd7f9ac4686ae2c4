// SPDX-License-Identifier: Apache-2.0

/** The keys that give the keyboard back: pressed together and let go, with nothing in between. As virt-viewer has it. */
export const releaseChord = 'Ctrl+Alt';

/** Follows key presses; `true` when the chord was completed by this event. */
export class ChordWatch {
  #armed = false;

  /** A key went down. */
  down(key: string, ctrl: boolean, alt: boolean): void {
    const modifier = key === 'Control' || key === 'Alt';
    if (!modifier) this.#armed = false;
    else if (ctrl && alt) this.#armed = true;
  }

  /** A key went up. */
  up(key: string): boolean {
    if (!this.#armed || (key !== 'Control' && key !== 'Alt')) return false;
    this.#armed = false;
    return true;
  }

  /** A mouse button between makes it something else (Ctrl+Alt+drag selects columns in a terminal). */
  cancel(): void {
    this.#armed = false;
  }
}

/** Calls `release` when the chord is pressed within `element`. Returns what ends it. */
export function watchChord(element: HTMLElement, release: () => void): () => void {
  const watch = new ChordWatch();
  const down = (event: KeyboardEvent): void => watch.down(event.key, event.ctrlKey, event.altKey);
  const up = (event: KeyboardEvent): void => {
    if (watch.up(event.key)) release();
  };
  const cancel = (): void => watch.cancel();
  element.addEventListener('keydown', down, true);
  element.addEventListener('keyup', up, true);
  element.addEventListener('pointerdown', cancel, true);
  return () => {
    element.removeEventListener('keydown', down, true);
    element.removeEventListener('keyup', up, true);
    element.removeEventListener('pointerdown', cancel, true);
  };
}
