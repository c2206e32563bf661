import type { Method } from './channel.ts';

/** Paths of the service in proto/causeway/v1/causeway.proto. */
export const methodPaths: Readonly<Record<Method, string>> = {
  control: '/causeway.v1.Bridge/Control',
  exchange: '/causeway.v1.Bridge/Exchange',
};
