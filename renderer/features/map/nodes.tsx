// SPDX-License-Identifier: Apache-2.0
import { adviceOf } from '../../../electron/contract/refusal.ts';
import { memo, type ReactNode } from 'react';
import type { Node, NodeProps } from '@xyflow/react';
import { runCommand } from '../../commands/run.ts';
import { subjectKey } from '../../store/subject.ts';
import { useUi } from '../../store/ui.ts';
import { FlowsText, RateText, TailText } from './GaugeText.tsx';
import './nodes.css';
import { StateShape } from './StateShape.tsx';
import type { BridgeNode, Ghost, GuestNode, MapNode, NatNode, UplinkNode } from './map-model.ts';
import type { Level } from './view.ts';
import { elideParts, natWord, wayName } from './words.ts';

/** What React Flow carries for a node. */
export interface NodeData<N extends MapNode = MapNode> extends Record<string, unknown> {
  readonly node: N;
  readonly level: Level;
  /** The one node that the Tab key stops at; arrow keys lead on. */
  readonly tabStop: boolean;
}

export type FlowNode = Node<NodeData>;
type Props<N extends MapNode> = NodeProps<Node<NodeData<N>>>;

/** A name of more characters than these needs room of its own, or smaller letters. */
const longName = 13;

/** A name that loses its middle, never its end, where the room is short. */
export function Name({ name }: { readonly name: string }) {
  const { head, tail } = elideParts(name);
  return (
    <span
      className={`map-name${tail ? ' long' : ''}${name.length > longName ? ' longest' : ''}`}
      title={name}
    >
      <span>{head}</span>
      {tail && <span>{tail}</span>}
    </span>
  );
}

/** What is wrong. What is only not there yet says so by its dashes, and for the whole lab the notice does. */
const Reason = ({ ghost }: { readonly ghost: Ghost }) =>
  ghost.expected ? null : (
    <p className="map-reason" title={ghost.fix ?? undefined}>
      {ghost.reason}
    </p>
  );

function GhostWords({ ghost }: { readonly ghost: Ghost }) {
  return (
    <>
      <Reason ghost={ghost} />
      {ghost.fix !== null && <p className="map-fix">{ghost.fix}</p>}
    </>
  );
}

interface ShellProps {
  readonly kind: string;
  readonly node: MapNode;
  readonly data: NodeData;
  readonly selected: boolean;
  readonly label: string;
  /** False where a control inside takes the focus instead. */
  readonly focusable?: boolean;
  readonly children: ReactNode;
}

/** The box of a node: what all four kinds share. */
function Shell({ kind, node, data, selected, label, focusable = true, children }: ShellProps) {
  const ghost = node.kind !== 'guest' && node.ghost !== null;
  return (
    <div
      className={`map-node map-${kind}${selected ? ' selected' : ''}${ghost ? ' ghost' : ''}`}
      data-level={data.level}
      role="group"
      aria-label={label}
      {...(focusable ? { 'data-key': node.key, tabIndex: data.tabStop ? 0 : -1 } : {})}
    >
      {children}
    </div>
  );
}

const UplinkCard = memo(({ data, selected }: Props<UplinkNode>) => {
  const { node, level } = data;
  const words = node.ghost ? node.ghost.reason : `${node.device ?? ''} ${node.addresses.join(' ')}`;
  return (
    <Shell kind="uplink" node={node} data={data} selected={selected} label={`Internet, ${words}`}>
      <h3>Internet</h3>
      {level === 'card' && (
        <>
          {node.device !== null && (
            <p className="mono">
              <Name name={node.device} />
            </p>
          )}
          {node.addresses.slice(0, 2).map((address) => (
            <p className="mono" key={address}>
              <Name name={address} />
            </p>
          ))}
          {node.through !== null && <p>{node.through}</p>}
          {node.flows !== null && (
            <p className="mono">
              <FlowsText lab={node.flows} device={null} />
            </p>
          )}
        </>
      )}
      {node.ghost && (level === 'card' ? <GhostWords ghost={node.ghost} /> : <Reason ghost={node.ghost} />)}
    </Shell>
  );
});

const NatCard = memo(({ data, selected }: Props<NatNode>) => {
  const { node, level } = data;
  const key = subjectKey(node.selection);
  const pending = useUi((ui) => ui.pending.get(key));
  const failure = useUi((ui) => ui.failures.get(key));
  const switching = pending?.command === 'network.nat';
  const word = switching ? 'switching…' : natWord(node);
  const switchable = node.on !== null && node.mode === 'nat';
  const describedBy = `nat-${node.network}`;
  return (
    <Shell
      kind={node.on ? 'nat on' : 'nat off'}
      node={node}
      data={data}
      selected={selected}
      label={`${[wayName[node.mode], word].filter(Boolean).join(', ')}. ${node.sentence}`}
      focusable={!switchable}
    >
      <div className="map-nat-head">
        <h3>
          {wayName[node.mode]}
          {word && <span className="map-nat-word">{word}</span>}
        </h3>
        {switchable && (
          <button
            type="button"
            role="switch"
            className="map-switch nodrag"
            aria-checked={node.on}
            aria-label={`NAT of ${node.name}`}
            aria-describedby={describedBy}
            aria-busy={switching}
            aria-disabled={switching}
            data-key={node.key}
            tabIndex={data.tabStop ? 0 : -1}
            onClick={() => void runCommand('network.nat', node.selection)}
          />
        )}
      </div>
      <p id={describedBy} className={level === 'card' ? '' : 'map-hidden'}>
        {node.sentence}
      </p>
      {level === 'card' && failure && (
        <p className="map-error" role="alert" title={adviceOf(failure.error).join('\n')}>
          {failure.error.message}
        </p>
      )}
      {level === 'card' && !failure && node.flows !== null && (
        <p className="mono">
          <FlowsText lab={node.flows} device={node.device} />
        </p>
      )}
    </Shell>
  );
});

const BridgeCard = memo(({ data, selected }: Props<BridgeNode>) => {
  const { node, level } = data;
  const words = [node.addresses.join(' '), node.services, node.portCount, node.ghost?.reason]
    .filter(Boolean)
    .join(', ');
  return (
    <Shell kind="bridge" node={node} data={data} selected={selected} label={`Bridge ${node.name}, ${words}`}>
      <h3>
        <Name name={node.name} />
      </h3>
      {level === 'card' && (
        <>
          {node.addresses.slice(0, 2).map((address) => (
            <p className="mono" key={address}>
              <Name name={address} />
            </p>
          ))}
          {node.services && <p>{node.services}</p>}
        </>
      )}
      {node.portCount && <p>{node.portCount}</p>}
      {node.ghost && <Reason ghost={node.ghost} />}
    </Shell>
  );
});

/** More NICs than these have no room on a card; the inspector lists them all. */
const nicsOnCard = 2;

function NicLines({ node }: { readonly node: GuestNode }) {
  const shown = node.nics.slice(0, nicsOnCard).filter((nic) => nic.words !== null || nic.link !== null);
  const named = node.nics.length > 1;
  return (
    <div className="map-io">
      {shown.map((nic) => (
        <span key={nic.index}>
          {named && `${nic.label} `}
          {nic.words ?? (nic.link !== null && <RateText link={nic.link} compact={named} />)}
        </span>
      ))}
      {shown.length === nicsOnCard && node.nics.length > nicsOnCard && (
        <span>+{node.nics.length - nicsOnCard}</span>
      )}
    </div>
  );
}

function GuestFoot({ node }: { readonly node: GuestNode }) {
  const key = subjectKey(node.selection);
  const pending = useUi((ui) => ui.pending.get(key));
  const failure = useUi((ui) => ui.failures.get(key));
  const error = failure?.error ?? node.error;
  if (error) {
    return (
      <p className="map-error" title={[error.message, ...adviceOf(error)].join('\n')}>
        {error.message}
      </p>
    );
  }
  if (node.startable) {
    return (
      <button
        type="button"
        className="map-start nodrag"
        tabIndex={-1}
        aria-label={`Start ${node.name}`}
        aria-busy={pending !== undefined}
        onClick={() => void runCommand('guest.start', node.selection)}
      >
        {pending?.word ?? 'Start'}
      </button>
    );
  }
  if (node.state === 'shut off' || node.state === 'crashed') return null;
  return (
    <div className="map-tail">
      <TailText guest={node.id} />
    </div>
  );
}

const GuestCard = memo(({ data, selected }: Props<GuestNode>) => {
  const { node, level } = data;
  // A long name needs its line for itself: it tells a guest from its neighbours.
  const ownLine = node.name.length > longName;
  const address = node.address !== null && (
    <span
      className={`mono map-address${node.addressSure ? '' : ' unsure'}`}
      title={node.addressSure ? undefined : 'no lease yet'}
    >
      {node.address}
    </span>
  );
  return (
    <Shell
      kind={`guest ${node.shape}`}
      node={node}
      data={data}
      selected={selected}
      label={[`Guest ${node.name}`, node.line, node.address].filter(Boolean).join(', ')}
    >
      <h3>
        <StateShape shape={node.shape} />
        <Name name={node.name} />
        {level === 'card' && !ownLine && address}
      </h3>
      {level === 'card' ? (
        <>
          <p className={node.line.length > 30 || ownLine ? 'map-line long' : 'map-line'}>
            <span>{node.line}</span>
            {ownLine && address}
          </p>
          {node.nics.length > 0 && <NicLines node={node} />}
          <GuestFoot node={node} />
        </>
      ) : node.error && node.shape !== 'running' ? (
        <p className="map-error">{node.error.message}</p>
      ) : (
        <p>
          {node.shape === 'running'
            ? address || node.state
            : node.line.split(' · ', node.shape === 'cut' ? 2 : 1).at(-1)}
        </p>
      )}
    </Shell>
  );
});

/** React Flow's table of components, by the kind of node. */
export const nodeTypes = { uplink: UplinkCard, nat: NatCard, network: BridgeCard, guest: GuestCard };
