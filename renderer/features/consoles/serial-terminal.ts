// SPDX-License-Identifier: Apache-2.0
import { FitAddon } from '@xterm/addon-fit';
import { SearchAddon } from '@xterm/addon-search';
import { WebLinksAddon } from '@xterm/addon-web-links';
import { Terminal, type IDisposable } from '@xterm/xterm';
import '@xterm/xterm/css/xterm.css';
import { useCore } from '../../store/core.ts';
import { useTables, type Row } from '../../store/tables.ts';
import { token } from '../../store/theme.ts';
import { useUi } from '../../store/ui.ts';
import { SerialFeed, type SerialStatus } from './serial-feed.ts';
import { styleByObject } from './span-style.ts';
import { tame } from './tame.ts';

/** Bytes that come within this time of opening are the record's tail, not what the guest says now, ms. */
const replayMs = 400;

/** A terminal is dark in both themes: programs in guests choose their colours for that. */
function terminalTheme(): NonNullable<Terminal['options']['theme']> {
  return {
    background: token('--term'),
    foreground: token('--term-text'),
    cursor: token('--term-text'),
    cursorAccent: token('--term'),
    selectionBackground: '#2f5f95',
    selectionForeground: '#ffffff',
    black: '#2a333f',
    red: '#ff7b7b',
    green: '#3fcf8e',
    yellow: '#f2b84b',
    blue: '#5aa9ff',
    magenta: '#b794f6',
    cyan: '#5ad1d1',
    white: '#cfe3d4',
    brightBlack: '#8693a5',
    brightRed: '#ff9d9d',
    brightGreen: '#7be3b4',
    brightYellow: '#ffd27d',
    brightBlue: '#8cc4ff',
    brightMagenta: '#d0b7fb',
    brightCyan: '#8be6e6',
    brightWhite: '#ffffff',
  };
}

/** Asks before an address that a guest wrote is opened; only https, and only on Ctrl+click. */
function openLink(event: MouseEvent, address: string): void {
  if (!event.ctrlKey) {
    useUi.getState().announce('Ctrl+click opens the link.');
    return;
  }
  let url: URL;
  try {
    url = new URL(address);
  } catch {
    return;
  }
  if (url.protocol !== 'https:') {
    useUi.getState().announce('Only https addresses can be opened from a guest’s console.');
    return;
  }
  const open = (): void => void window.open(url.href, '_blank', 'noopener,noreferrer');
  // The desktop program asks by itself: it does not believe its page.
  if (location.protocol === 'app:') return open();
  useUi.setState({
    confirm: {
      title: 'Open an address that a guest wrote?',
      text: url.href,
      action: 'Open it',
      act: open,
    },
  });
}

/**
 * One guest's serial terminal. It lives as long as its tab, so that going to another tab and back costs
 * nothing and loses nothing; a pane lends it a place on the page.
 */
export class SerialTerminal {
  readonly terminal: Terminal;
  readonly element: HTMLElement = document.createElement('div');
  readonly search = new SearchAddon();
  readonly #fit = new FitAddon();
  readonly #feed: SerialFeed;
  readonly #stops: (() => void)[];
  #openedAt = 0;
  #status: SerialStatus = { open: false, error: undefined };
  readonly #statusListeners = new Set<() => void>();
  readonly #searchListeners = new Set<() => void>();

  constructor(guest: Pick<Row<'guests'>, 'name'>, lab: Pick<Row<'labs'>, 'name'>) {
    const ui = useUi.getState();
    const terminal = new Terminal({
      fontFamily: token('--mono'),
      fontSize: 12,
      lineHeight: 1.25,
      scrollback: 10_000,
      theme: terminalTheme(),
      screenReaderMode: ui.screenReaderTerminals,
      // Blinking is motion, and costs frames.
      cursorBlink: false,
      // Alt is a key of the guest's, and a mouse report would go to it as typed text.
      macOptionIsMeta: false,
      windowOptions: {},
    });
    this.terminal = terminal;
    terminal.loadAddon(this.#fit);
    terminal.loadAddon(this.search);
    terminal.loadAddon(new WebLinksAddon(openLink));
    tame(
      terminal,
      () =>
        performance.now() - this.#openedAt > replayMs &&
        this.element.contains(document.activeElement) &&
        document.hasFocus(),
    );
    terminal.attachCustomKeyEventHandler((event) => this.#key(event));

    const encoder = new TextEncoder();
    this.#feed = new SerialFeed(
      { lab: lab.name, guest: guest.name },
      {
        write: (bytes, parsed) => terminal.write(bytes, parsed),
        gap: (bytes) => terminal.write(`\r\n\u001b[0m[${bytes} bytes are no longer in the record]\r\n`),
      },
      (status) => {
        if (status.open) this.#openedAt = performance.now();
        this.#status = status;
        for (const listener of this.#statusListeners) listener();
      },
    );
    const disposables: IDisposable[] = [
      terminal.onData((text) => this.#feed.type(encoder.encode(text))),
      terminal.onBinary((text) =>
        this.#feed.type(Uint8Array.from(text, (character) => character.charCodeAt(0))),
      ),
    ];
    const connect = (): void => {
      const { status, client } = useCore.getState();
      this.#feed.setClient(status === 'ready' ? client : null);
    };
    connect();
    this.#stops = [
      useCore.subscribe(connect),
      useUi.subscribe((state) => {
        if (terminal.options.screenReaderMode !== state.screenReaderTerminals)
          terminal.options.screenReaderMode = state.screenReaderTerminals;
      }),
      () => disposables.forEach((disposable) => disposable.dispose()),
    ];
  }

  /** Calls `listener` when a key asks for the search field. Returns what ends it. */
  onSearch(listener: () => void): () => void {
    this.#searchListeners.add(listener);
    return () => this.#searchListeners.delete(listener);
  }

  get status(): SerialStatus {
    return this.#status;
  }

  /** Whether the guest has said anything that is still there. */
  get empty(): boolean {
    return this.#feed.next <= 0;
  }

  subscribe(listener: () => void): () => void {
    this.#statusListeners.add(listener);
    return () => this.#statusListeners.delete(listener);
  }

  /** Puts the terminal into a place on the page. */
  attach(place: HTMLElement): void {
    place.append(this.element);
    if (!this.terminal.element) this.terminal.open(this.element);
    this.fit();
  }

  detach(): void {
    this.element.remove();
  }

  /** Takes the size of its place. The guest is not told: a serial line has no way to. */
  fit(): void {
    if (this.element.clientWidth > 0 && this.element.clientHeight > 0) this.#fit.fit();
  }

  dispose(): void {
    this.#feed.close();
    for (const stop of this.#stops) stop();
    this.detach();
    this.terminal.dispose();
  }

  /** Whether xterm may have the key. */
  #key(event: KeyboardEvent): boolean {
    if (!event.ctrlKey || !event.shiftKey || event.altKey) return true;
    switch (event.code) {
      case 'KeyC':
        event.preventDefault();
        if (event.type === 'keydown' && this.terminal.hasSelection())
          void navigator.clipboard.writeText(this.terminal.getSelection()).catch(() => {
            useUi.getState().announce('The browser did not let the text onto the clipboard.');
          });
        return false;
      case 'KeyV':
        // The browser pastes by itself, and xterm brackets what it pastes.
        return false;
      case 'KeyF':
        event.preventDefault();
        if (event.type === 'keydown') for (const listener of this.#searchListeners) listener();
        return false;
      default:
        return true;
    }
  }
}

styleByObject(HTMLSpanElement.prototype);

const open = new Map<string, SerialTerminal>();

/** The terminal of a guest, made with the first pane that shows it and kept until its tab is closed. */
export function serialTerminal(guest: Row<'guests'>): SerialTerminal | null {
  const known = open.get(guest.id);
  if (known) return known;
  const lab = useTables.getState().labs.get(guest.lab);
  if (!lab) return null;
  const made = new SerialTerminal(guest, lab);
  open.set(guest.id, made);
  return made;
}

useUi.subscribe((state) => {
  for (const [id, terminal] of open) {
    if (state.consoles.some((tab) => tab.kind === 'serial' && tab.guest === id)) continue;
    open.delete(id);
    terminal.dispose();
  }
});
