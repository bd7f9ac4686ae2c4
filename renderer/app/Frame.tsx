// SPDX-License-Identifier: Apache-2.0
import { useEffect, type ReactElement } from 'react';
import { Dock } from '../features/consoles/Dock.tsx';
import { Guests } from '../features/guests/Guests.tsx';
import { Inspector } from '../features/inspector/Inspector.tsx';
import { LabMap } from '../features/map/LabMap.tsx';
import { Failures } from '../features/jobs/Failures.tsx';
import { Boundary } from '../lib/Boundary.tsx';
import { Splitter } from '../lib/Splitter.tsx';
import { cx } from '../lib/class-names.ts';
import { later } from '../lib/later.tsx';
import { useCore } from '../store/core.ts';
import type { Row } from '../store/tables.ts';
import { useUi } from '../store/ui.ts';
import { Banners } from './Banners.tsx';
import { Footer } from './Footer.tsx';
import styles from './Frame.module.css';
import { Header } from './Header.tsx';
import { NavRail } from './NavRail.tsx';
import { useMedia, wideQuery } from '../lib/use-media.ts';

const Checks = later(() => import('../features/checks/Checks.tsx'));
const Log = later(() => import('../features/log/Log.tsx'));
const Settings = later(() => import('../features/settings/Settings.tsx'));

/** The whole window of a lab: header, rail, work area with dock, inspector, footer. */
export function Frame({ lab }: { readonly lab: Row<'labs'> }): ReactElement {
  const live = useCore((state) => state.status === 'ready');
  const wide = useMedia(wideQuery);
  const view = useUi((ui) => ui.view);
  // Checks and settings are about this computer and this window, and the log wants the room.
  const ofLab = view === 'map' || view === 'guests';
  const inspector = useUi((ui) => (wide ? ui.inspectorOpen : ui.overlayOpen)) && ofLab;
  const inspectorWidth = useUi((ui) => ui.inspectorWidth);

  useEffect(() => {
    document.title = `${lab.name} · Tapyard`;
  }, [lab.name]);

  return (
    <div className={styles.frame}>
      <Header lab={lab} />
      <Banners lab={lab} />
      <div className={styles.main}>
        <NavRail />
        <div className={styles.work}>
          <div className={styles.stage}>
            <main className={cx(styles.view, !live && styles.stale)} aria-label={titles[view]}>
              <Boundary key={view}>
                {view === 'map' ? <LabMap lab={lab.id} /> : null}
                {view === 'guests' ? <Guests lab={lab} /> : null}
                {view === 'log' ? <Log lab={lab} /> : null}
                {view === 'checks' ? <Checks /> : null}
                {view === 'settings' ? <Settings /> : null}
              </Boundary>
              <Failures lab={lab} />
            </main>
            {/* With little room it takes its part of the map, which fits itself beside it; the consoles keep theirs. */}
            {inspector && !wide ? <Inspector lab={lab} width={inspectorWidth} overlay /> : null}
          </div>
          {ofLab ? <Dock lab={lab} /> : null}
        </div>
        {inspector && wide ? (
          <>
            <Splitter
              label="Width of the inspector"
              orientation="vertical"
              value={inspectorWidth}
              min={280}
              max={720}
              step={16}
              grows={false}
              toValue={(start, delta) => start - delta}
              onChange={(width) => useUi.getState().keep({ inspectorWidth: width })}
            />
            <Inspector lab={lab} width={inspectorWidth} overlay={false} />
          </>
        ) : null}
      </div>
      <Footer lab={lab} />
    </div>
  );
}

const titles = {
  map: 'Map',
  guests: 'Guests',
  log: 'Log',
  checks: 'Checks',
  settings: 'Settings',
} as const;
