// SPDX-License-Identifier: Apache-2.0
import RFB from '@novnc/novnc';
import { useEffect, useRef, useState, type ReactElement } from 'react';
import type { ErrorData } from '../../../electron/contract/error.ts';
import { Button } from '../../lib/Button.tsx';
import { useCore } from '../../store/core.ts';
import { consoleKey } from '../../store/kept.ts';
import { useTables, type Row } from '../../store/tables.ts';
import { useUi } from '../../store/ui.ts';
import { OffNote } from './OffNote.tsx';
import { SendKeys } from './SendKeys.tsx';
import styles from './ScreenPane.module.css';
import { releaseChord, watchChord } from './release-chord.ts';
import { rfbChannel } from './rfb-channel.ts';

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
  const place = useRef<HTMLDivElement>(null);
  const rfb = useRef<RFB | null>(null);
  const [state, setState] = useState<State>({ is: 'connecting' });
  const [attempt, setAttempt] = useState(0);
  const key = consoleKey({ guest: guest.id, kind: 'screen' });
  const { name, pid } = guest;

  useEffect(() => {
    const element = place.current;
    if (!element || !client || lab === undefined || pid === null) return;
    setState({ is: 'connecting' });
    let why: ErrorData | null = null;
    let left = false;
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
      if (!left) setState({ is: 'gone', error: why });
    });
    const sharpen = (): void => sharpenCanvas(element);
    const resize = new ResizeObserver(sharpen);
    resize.observe(element);
    const canvas = element.querySelector('canvas');
    if (canvas) resize.observe(canvas);
    return () => {
      left = true;
      resize.disconnect();
      rfb.current = null;
      viewer.disconnect();
      element.replaceChildren();
    };
    // A new QEMU (another pid) is another screen.
  }, [client, lab, name, pid, attempt]);

  useEffect(() => {
    const element = place.current;
    if (!element) return;
    const ui = useUi.getState();
    const focus = (): void => ui.setFocusedConsole(key);
    const blur = (): void => {
      if (useUi.getState().focusedConsole === key) ui.setFocusedConsole(null);
    };
    element.addEventListener('focusin', focus);
    element.addEventListener('focusout', blur);
    const stop = watchChord(element, () => {
      rfb.current?.blur();
      onRelease();
    });
    return () => {
      stop();
      blur();
      element.removeEventListener('focusin', focus);
      element.removeEventListener('focusout', blur);
    };
  }, [key, onRelease]);

  const off = pid === null;
  return (
    <div className={styles.pane}>
      {off ? (
        <OffNote guest={guest} whole />
      ) : state.is === 'connected' ? (
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
              <Button size="small" onPress={() => setAttempt(attempt + 1)}>
                Connect again
              </Button>
            </>
          )}
        </div>
      )}
      <div
        ref={place}
        className={styles.place}
        hidden={off}
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
