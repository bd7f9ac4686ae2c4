// SPDX-License-Identifier: Apache-2.0
// @vitest-environment happy-dom
import { act, type ReactElement } from 'react';
import { createRoot, type Root } from 'react-dom/client';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { TapyardError } from '../../../electron/contract/error.ts';
import '../../../renderer/commands/table.ts';
import { Banners } from '../../../renderer/app/Banners.tsx';
import { GuestInspector } from '../../../renderer/features/inspector/GuestInspector.tsx';
import { Guests } from '../../../renderer/features/guests/Guests.tsx';
import NewGuest from '../../../renderer/features/guests/NewGuest.tsx';
import { Failures } from '../../../renderer/features/jobs/Failures.tsx';
import { JobProgress } from '../../../renderer/features/jobs/JobProgress.tsx';
import { Dock } from '../../../renderer/features/consoles/Dock.tsx';
import { Boundary } from '../../../renderer/lib/Boundary.tsx';
import { keepConnected, useCore } from '../../../renderer/store/core.ts';
import { useTables, type Row } from '../../../renderer/store/tables.ts';
import { useUi } from '../../../renderer/store/ui.ts';
import { FakeCore } from '../../fakes/fake-core.ts';
import { labByName } from '../../fakes/page/choose.ts';
import { byId, guest, job, lab, network, step } from './rows.ts';

Object.assign(globalThis, { IS_REACT_ACT_ENVIRONMENT: true });

let root: Root;
let place: HTMLElement;

async function draw(element: ReactElement): Promise<void> {
  await act(async () => {
    root.render(element);
    await Promise.resolve();
  });
}

const button = (name: string): HTMLElement => {
  const found = [...document.querySelectorAll('button')].find(
    (one) => one.textContent?.trim() === name || one.getAttribute('aria-label') === name,
  );
  if (!found) throw new Error(`there is no button ${name} in ${document.body.textContent ?? ''}`);
  return found;
};

const press = async (name: string): Promise<void> => {
  await act(async () => {
    button(name).click();
    await new Promise((resolve) => setTimeout(resolve, 0));
  });
};

const type = async (field: HTMLInputElement, text: string): Promise<void> => {
  await act(async () => {
    Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, 'value')?.set?.call(field, text);
    field.dispatchEvent(new Event('input', { bubbles: true }));
    await Promise.resolve();
  });
};

beforeEach(() => {
  place = document.body.appendChild(document.createElement('div'));
  root = createRoot(place);
  useUi.setState({
    lab: 'seed',
    selection: null,
    failures: new Map(),
    pending: new Map(),
    dismissedJobs: new Set(),
  });
  useTables.setState({
    labs: byId(lab()),
    guests: byId(guest()),
    networks: byId(network()),
    links: new Map(),
    steps: byId(step()),
    jobs: new Map(),
  });
});
afterEach(async () => {
  await act(async () => {
    root.unmount();
    await Promise.resolve();
  });
  document.body.replaceChildren();
});

async function connectFake(options: ConstructorParameters<typeof FakeCore>[1] = {}): Promise<FakeCore> {
  const { rows, up } = labByName('mock');
  const core = new FakeCore(rows, options, up);
  useCore.setState({ status: 'ready', client: (await core.connect()).client, error: null });
  return core;
}

describe('the inspector of a guest', () => {
  it('shows its cable, address, name and recipe', async () => {
    await connectFake();
    await draw(<GuestInspector guest={guest()} />);
    const text = place.textContent ?? '';
    for (const part of [
      'eth0 ↔ tap0 (fd 10)',
      '52:54:00:a1:3f:02',
      '192.168.57.2 reserved',
      '192.168.57.1',
      'web.lab',
      'pid 4711',
      'TCG',
    ])
      expect(text).toContain(part);
    expect(text).toContain('ip link add br0 type bridge');
    expect(button('Copy address 192.168.57.2')).toBeTruthy();
  });

  it('names a NIC that QEMU has and the lab file has not', async () => {
    await connectFake();
    const left = { network: 'br1', mac: '52:54:00:a1:3f:09', tap: 'tap3' };
    await draw(<GuestInspector guest={guest({ leftNics: [left] })} />);
    expect(place.textContent).toContain('tap3 on br1 (52:54:00:a1:3f:09) is not in the lab file');
  });

  it('attaches a failure to the guest, with code, message and hint, until it is dismissed', async () => {
    await connectFake({
      failing: {
        'guest.pause': new TapyardError('QMP_FAILED', 'QEMU did not answer.', { hint: 'Force it off.' }),
      },
    });
    await draw(<GuestInspector guest={guest()} />);
    await press('Pause web');
    await vi.waitFor(() => expect(useUi.getState().failures.size).toBe(1));
    await draw(<GuestInspector guest={guest()} />);
    expect(place.textContent).toContain('Pause web failed');
    for (const part of ['QMP_FAILED', 'QEMU did not answer.', 'Force it off.'])
      expect(place.textContent).toContain(part);
    await press('Dismiss');
    expect(place.textContent).not.toContain('QMP_FAILED');
  });

  it('shows which step failed, and why', async () => {
    useTables.setState({
      steps: byId(
        step({ state: 'failed', holds: false, error: { code: 'KERNEL', message: 'EBUSY on br0' } }),
      ),
    });
    await draw(<GuestInspector guest={guest()} />);
    expect(place.querySelector('[aria-label="failed"]')?.textContent).toBe('✗');
    expect(place.textContent).toContain('EBUSY on br0');
  });
});

describe('the list of guests', () => {
  it('has state in words, addresses, and only actions that fit', async () => {
    useTables.setState({
      guests: byId(guest(), guest({ id: 'seed/db', name: 'db', state: 'shut off', pid: null })),
      labs: byId(lab({ state: 'down' })),
    });
    await draw(<Guests lab={lab({ state: 'down' })} />);
    const rows = [...place.querySelectorAll('tbody tr')].map((row) => row.textContent ?? '');
    expect(rows[0]).toContain('shut off');
    expect(rows[1]).toContain('192.168.57.2');
    expect(button('Start db').getAttribute('aria-disabled')).toBe('true');
    expect(button('Shut down web').getAttribute('aria-disabled')).toBe(null);
  });
});

describe('the form of a new guest', () => {
  it('ties an error to its field and sends nothing', async () => {
    await connectFake();
    await draw(<NewGuest />);
    const field = document.querySelector('input');
    if (!field) throw new Error('no field');
    await type(field, 'web');
    expect(field.getAttribute('aria-invalid')).toBe('true');
    const described = (field.getAttribute('aria-describedby') ?? '')
      .split(' ')
      .map((id) => document.getElementById(id)?.textContent);
    expect(described).toContain('there is a guest web already');
  });

  it('offers to try again on a file that was edited meanwhile', async () => {
    useUi.setState({ newGuest: true });
    await connectFake({
      failing: { 'guest.create': new TapyardError('LAB_FILE_CHANGED', 'seed.yaml was edited.') },
    });
    await draw(<NewGuest />);
    await press('Create and start');
    await vi.waitFor(() => expect(document.body.textContent).toContain('LAB_FILE_CHANGED'));
    expect(button('Try again on the file as it is now')).toBeTruthy();
  });
});

describe('jobs', () => {
  it('show what is done, how far, and the way to stop', async () => {
    useTables.setState({ jobs: byId(job()) });
    await draw(<JobProgress lab="seed" />);
    expect(place.textContent).toContain('bridge br0');
    expect(place.textContent).toContain('1/4');
    expect(button('Cancel what is under way')).toBeTruthy();
  });

  it('that failed say so until dismissed', async () => {
    const error = { code: 'PASTA_MISSING', message: 'pasta is not installed.', hint: 'Install passt.' };
    useTables.setState({ jobs: byId(job({ state: 'failed', error })) });
    await draw(<Failures lab={lab()} />);
    for (const part of ['Bring up seed failed', 'pasta is not installed.', 'Install passt.', 'PASTA_MISSING'])
      expect(place.textContent).toContain(part);
    await press('Dismiss');
    expect(place.textContent).toBe('');
  });
});

describe('banners', () => {
  it('name each problem of the lab file with its place', async () => {
    const problems: Row<'labs'>['problems'] = [
      {
        line: 4,
        column: 7,
        path: 'guests.web.memory',
        message: 'not a size',
        expected: 'a size such as 256M',
      },
      { line: 9, column: 1, path: 'colour', message: 'unknown key' },
    ];
    await draw(<Banners lab={lab({ problems })} />);
    expect(place.textContent).toContain('seed.yaml:4:7');
    expect(place.textContent).toContain('expected a size such as 256M');
    expect(place.textContent).not.toContain('unknown key');
    await press('Show all 2');
    expect(place.textContent).toContain('seed.yaml:9:1');
  });

  it('say that the core is gone, and go when it is back', async () => {
    const { rows, up } = labByName('seed');
    const core = new FakeCore(rows, {}, up);
    const first = await core.connect();
    let dials = 0;
    void keepConnected(() => (dials++ === 0 ? Promise.resolve(first) : core.connect()));
    await vi.waitFor(() => expect(useCore.getState().status).toBe('ready'));
    first.close();
    await vi.waitFor(() => expect(useCore.getState().status).toBe('lost'));
    await draw(<Banners lab={lab()} />);
    expect(place.textContent).toContain('The core is gone; reconnecting…');
    await vi.waitFor(() => expect(useCore.getState().status).toBe('ready'));
    await draw(<Banners lab={lab()} />);
    expect(place.textContent).not.toContain('The core is gone');
  });
});

describe('a part that cannot be drawn', () => {
  const Broken = (): ReactElement => {
    throw new Error('Failed to fetch dynamically imported module');
  };

  it('says so in its place, and leaves the rest', async () => {
    const silence = vi.spyOn(console, 'error').mockImplementation(() => {});
    const dismissed = vi.fn<() => void>();
    await draw(
      <>
        <p>the rest</p>
        <Boundary onDismiss={dismissed}>
          <Broken />
        </Boundary>
      </>,
    );
    expect(place.textContent).toContain('the rest');
    expect(place.textContent).toContain('Failed to fetch dynamically imported module');
    expect(button('Load the page anew')).toBeTruthy();
    await press('Dismiss');
    expect(dismissed).toHaveBeenCalledOnce();
    silence.mockRestore();
  });
});

describe('the dock without a console', () => {
  const choice = (): HTMLSelectElement => {
    const found = document.querySelector('select');
    if (!found) throw new Error('there is no choice of guests');
    return found;
  };

  it('offers those of a guest that runs, and of any other', async () => {
    const off = guest({ id: 'seed/a', name: 'a', state: 'shut off', pid: null });
    useTables.setState({ guests: byId(off, guest({ id: 'seed/b', name: 'b', state: 'running' })) });
    useUi.setState({ consoles: [] });
    await draw(<Dock lab={lab()} />);
    expect(choice().value).toBe('seed/b');
    await act(async () => {
      choice().value = 'seed/a';
      choice().dispatchEvent(new Event('change', { bubbles: true }));
      await Promise.resolve();
    });
    expect(useUi.getState().selection).toEqual({ kind: 'guest', id: 'seed/a' });
    expect(choice().value).toBe('seed/a');
    await press('Serial');
    expect(useUi.getState().consoles).toEqual([{ guest: 'seed/a', kind: 'serial' }]);
  });
});
