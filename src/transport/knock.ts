import { connect, isIP, type Socket } from 'node:net';
import type { Address } from '../topology/plan.ts';

const usualMs = 1000;

/**
 * Knocks at an address once a second, as long as it is `wanted`, until somebody opens, which is told once. For a connection that is being made while the network is
 * away: TCP repeats its question ever more rarely, after 1 s, 3 s, 7 s and so on, and would let seconds pass after the network's return.
 * What is returned ends it. Whoever opens is left without a word.
 */
export function knock(address: Address, wanted: () => boolean, opened: () => void, everyMs = usualMs): () => void {
  const sockets = new Set<Socket>();
  /** The name is being looked up. That may hang, too, and must not use up the few threads that there are for it. */
  let asking = false;
  const end = (): void => {
    clearInterval(timer);
    for (const socket of sockets) socket.destroy();
  };
  const timer = setInterval(() => {
    if (!wanted()) return end();
    if (asking) return;
    asking = isIP(address.host) === 0;
    const socket = connect(address);
    sockets.add(socket);
    socket.once('lookup', () => {
      asking = false;
    });
    socket.once('connect', () => {
      end();
      if (wanted()) opened();
    });
    socket.on('error', () => {
      // Whoever makes the connection that this is done for hears the same.
    });
    socket.once('close', () => {
      asking = false;
      sockets.delete(socket);
    });
  }, everyMs);
  timer.unref();
  return end;
}
