// SPDX-License-Identifier: Apache-2.0
import type { Firewalls } from './firewalls.ts';
import { checkoutInside } from './world.ts';

/** Where set-up built it (scripts/setup/newer-docker.mjs). */
const programs = `${checkoutInside}/.cache/docker-29`;
const socket = 'unix:///run/docker.sock';

/**
 * Docker 29, with Debian 12's containerd, runc and client. That runc knows no time namespace, which this Docker
 * asks for, so it is not told of it.
 */
const runtime = `#!/bin/sh
for arg; do
  [ ! -f "$arg/config.json" ] || sed -i 's/,{"type":"time"}//; s/{"type":"time"},//' "$arg/config.json"
done
exec /usr/sbin/runc "$@"`;

/** The real dockerd 29 among the other firewalls of a world. */
export class Docker29 {
  readonly #place: Firewalls;

  private constructor(place: Firewalls) {
    this.#place = place;
  }

  static async in(place: Firewalls): Promise<Docker29> {
    await place.sh(`cat > /run/older-runc <<'END'\n${runtime}\nEND\nchmod +x /run/older-runc`);
    return new Docker29(place);
  }

  /** Starts dockerd; answers how to end it. */
  start(backend: 'nftables' | 'iptables', ...more: readonly string[]): Promise<() => Promise<void>> {
    const options = [
      `--firewall-backend=${backend}`,
      `--userland-proxy-path=${programs}/docker-proxy`,
      '--add-runtime older=/run/older-runc --default-runtime older --storage-driver vfs',
      '--data-root /var/lib/docker --exec-root /run/docker --pidfile /run/docker.pid',
      ...more,
    ];
    return this.#place.daemon(
      `${programs}/dockerd ${options.join(' ')} -H ${socket}`,
      `timeout 5 /usr/bin/docker -H ${socket} version`,
    );
  }

  /** The `docker` command. */
  run(command: string): Promise<string> {
    return this.#place.sh(`/usr/bin/docker -H ${socket} ${command}`);
  }

  /** Starts a container that serves HTTP at port 80, as port 8080 of the host. */
  async serve(network: string): Promise<void> {
    await this.#place.sh(`mkdir -p /run/image; cp "$(command -v busybox)" /run/image/busybox
      tar -C /run/image -c busybox | /usr/bin/docker -H ${socket} import - busybox`);
    await this.run(
      `run -d --name served --network ${network} -p 8080:80 busybox /busybox httpd -f -p 80 -h /`,
    );
  }
}
