// SPDX-License-Identifier: Apache-2.0
import { ReactFlowProvider } from '@xyflow/react';
import { runCommand } from '../../commands/run.ts';
import { later } from '../../lib/later.tsx';
import { useUi } from '../../store/ui.ts';
import './map.css';
import { MapCanvas } from './MapCanvas.tsx';
import { Notice } from './Notice.tsx';
import { useTopology } from './useTopology.ts';

const LabTree = later(() => import('./LabTree.tsx'));

/** The map of a lab, with the switch to the same things as a list. `lab` is the id of its row. */
export function LabMap({ lab }: { readonly lab: string }) {
  const asList = useUi((ui) => ui.mapAsList);
  const topology = useTopology(lab);
  if (!topology) return null;
  if (asList) {
    return (
      <div className="map-root list">
        <LabTree lab={lab} />
        <div className="map-controls">
          <button
            type="button"
            className="map-control"
            title="Show the list as a map (Alt+L)"
            onClick={() => void runCommand('map.list')}
          >
            As map
          </button>
        </div>
      </div>
    );
  }
  return (
    <div className="map-root">
      <ReactFlowProvider key={lab}>
        <MapCanvas topology={topology} />
      </ReactFlowProvider>
      <Notice topology={topology} />
    </div>
  );
}
