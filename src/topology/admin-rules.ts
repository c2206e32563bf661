import type { Plan } from './plan.ts';
import { type PathFault, quote } from './problem.ts';

/** What the system takes as the path of a unix socket, on Linux. */
const maxSocketBytes = 107;

/** An admin socket that could not be made. */
export function adminFaults({ admin, listen }: Plan): PathFault[] {
  if (admin === undefined) return [];
  const fault = (message: string, fix: string): PathFault[] => [
    { path: ['admin', 'socket'], on: 'value', message, fix },
  ];
  const { socket } = admin;
  const bytes = new TextEncoder().encode(socket).length;
  if (bytes > maxSocketBytes) {
    const message = `${quote(socket)} has ${bytes} bytes, and the path of a socket at most ${maxSocketBytes}`;
    return fault(message, 'choose a shorter path, as /run/causeway/admin.sock');
  }
  if (listen !== undefined && 'path' in listen && listen.path === socket)
    return fault('"admin" and "listen" want the same socket', 'change one of them');
  return [];
}
