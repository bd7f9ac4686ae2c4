// SPDX-License-Identifier: Apache-2.0
import RFB from '@novnc/novnc';
import { useCallback, useEffect, useRef, useState, type ReactElement } from 'react';
import type { Client } from '../../../electron/contract/client.ts';
import type { ErrorData } from '../../../electron/contract/error.ts';
import { Button } from '../../lib/Button.tsx';
import { useCore } from '../../store/core.ts';
import { useTables, type Row } from '../../store/tables.ts';
import { OffNote } from './OffNote.tsx';
import { SendKeys } from './SendKeys.tsx';
import styles from './ScreenPane.module.css';
import { releaseChord } from './release-chord.ts';
import { rfbChannel } from './rfb-channel.ts';
import { useConsoleKeyboard } from './use-console-keyboard.ts';

interface ScreenPaneProps {
  readonly guest: Row<'guests'>;
  readonly onRelease: () => void;
}

interface State {
  readonly is: 'connecting' | 'connected' | 'gone';
  readonly error?: ErrorData | null;
}

/** A guest's screen, over RFB. */
export default function ScreenPane({ guest, onRelease }: ScreenPaneProps): ReactElement {
  const client = useCore((state) => (state.status === 'ready' ? state.client : null));
  const lab = useTables((tables) => tables.labs.get(guest.lab)?.name);
  const [attempt, setAttempt] = useState(0);
  if (guest.pid === null) {
    return (
      <div className={styles.pane}>
        <OffNote guest={guest} whole />
      </div>
    );
  }
  if (!client || lab === undefined) {
    return (
      <div className={styles.pane}>
        <div className={styles.note}>There is no connection to the core.</div>
      </div>
    );
  }
  return (
    <Viewer
      // A new QEMU (another pid) is another screen, and so is a new try.
      key={`${guest.pid}:${attempt}`}
      client={client}
      lab={lab}
      guest={guest}
      onRelease={onRelease}
      onAgain={() => setAttempt(attempt + 1)}
    />
  );
}

interface ViewerProps extends ScreenPaneProps {
  readonly client: Client;
  readonly lab: string;
  readonly onAgain: () => void;
}

/** One connection to the screen. */
function Viewer({ client, lab, guest, onRelease, onAgain }: ViewerProps): ReactElement {
  const place = useRef<HTMLDivElement>(null);
  const rfb = useRef<RFB | null>(null);
  const [state, setState] = useState<State>({ is: 'connecting' });
  const { name } = guest;

  useEffect(() => {
    const element = place.current;
    if (!element) return;
    let why: ErrorData | null = null;
    let left = false;
    let ended = false;
    const viewer = new RFB(
      element,
      rfbChannel(client, { lab, guest: name }, (error) => {
        why = error?.toData() ?? null;
      }),
      { shared: true },
    );
    rfb.current = viewer;
    viewer.scaleViewport = true;
    viewer.background = 'transparent';
    viewer.showDotCursor = true;
    // The stream stays on this computer: bytes are cheap, and losses would blur a console's letters.
    viewer.qualityLevel = 9;
    viewer.compressionLevel = 0;
    viewer.addEventListener('connect', () => {
      if (!left) setState({ is: 'connected' });
    });
    viewer.addEventListener('disconnect', () => {
      ended = true;
      if (!left) setState({ is: 'gone', error: why });
    });
    const resize = new ResizeObserver(() => sharpenCanvas(element));
    resize.observe(element);
    const canvas = element.querySelector('canvas');
    if (canvas) resize.observe(canvas);
    return () => {
      left = true;
      resize.disconnect();
      rfb.current = null;
      if (!ended) viewer.disconnect();
      element.replaceChildren();
    };
  }, [client, lab, name]);

  const release = useCallback(() => {
    rfb.current?.blur();
    onRelease();
  }, [onRelease]);
  useConsoleKeyboard(place, guest.id, 'screen', release);

  return (
    <div className={styles.pane}>
      {state.is === 'connected' ? (
        <div className={styles.bar}>
          <SendKeys rfb={rfb} name={name} />
        </div>
      ) : (
        <div className={styles.note} role="status">
          {state.is === 'connecting' ? (
            'Connecting to the screen…'
          ) : (
            <>
              <span>The screen is disconnected{state.error ? `: ${state.error.message}` : '.'}</span>
              <Button size="small" onPress={onAgain}>
                Connect again
              </Button>
            </>
          )}
        </div>
      )}
      <div
        ref={place}
        className={styles.place}
        role="group"
        aria-label={`Screen of ${name}. ${releaseChord} releases the keyboard.`}
      />
    </div>
  );
}

/**
 * A screen whose pixels are a whole number of the display's own is drawn with hard edges; at any other size
 * smoothing keeps letters readable.
 */
function sharpenCanvas(element: HTMLElement): void {
  const canvas = element.querySelector('canvas');
  if (!canvas || canvas.width === 0) return;
  const factor = (canvas.clientWidth * devicePixelRatio) / canvas.width;
  const whole = factor >= 0.99 && Math.abs(factor - Math.round(factor)) < 0.01;
  canvas.style.imageRendering = whole ? 'pixelated' : 'auto';
}
