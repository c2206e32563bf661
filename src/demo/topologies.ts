/** The topology files of the demo: a hub and two plants, and a link of each kind between them. */
export const trustDomain = 'demo';
export const hub = 'hub';
export const plants = ['plant-a', 'plant-b'] as const;
const [plantA, plantB] = plants;
export const clusters = [hub, ...plants] as const;

export const streams = {
  /** What the sensors of a plant have measured. */
  telemetry: 'TELEMETRY',
  /** The same of all plants, at the hub. */
  fleet: 'FLEET',
  recipes: 'RECIPES',
  orders: 'ORDERS',
} as const;

/** Those of the hub: it takes part in every one. */
export const links = ['telemetry', 'recipes', 'orders'] as const;

/** Stream of a cluster that somebody makes before the lanes can run; the RECIPES of the plants are made by Causeway. */
export interface OwnStream {
  readonly stream: string;
  readonly subjects: readonly string[];
}

export function streamsOf(cluster: string): readonly OwnStream[] {
  const orders = { stream: streams.orders, subjects: ['order.>'] };
  if (cluster !== hub) return [{ stream: streams.telemetry, subjects: ['press.>'] }, orders];
  return [
    { stream: streams.fleet, subjects: ['fleet.>'] },
    { stream: streams.recipes, subjects: ['recipe.>'] },
    orders,
  ];
}

/** What stands before a plant's own subjects at the hub. */
export function fleetPrefix(plant: string): string {
  return `fleet.${plant}.`;
}

export interface Ports {
  /** Of the nats-server. */
  readonly nats: number;
  readonly monitor: number;
}

/** Where the hub and the first plant listen; the second plant only dials. */
export interface ListenPorts {
  readonly hub: number;
  readonly plantA: number;
}

/** The topology file of a cluster. */
export function topologyOf(cluster: string, ports: Ports, listen: ListenPorts): string {
  if (cluster === hub) return hubFile(ports, listen);
  return cluster === plantA ? plantFile(plantA, ports, listen) : plantFile(plantB, ports, listen);
}

function hubFile(ports: Ports, listen: ListenPorts): string {
  return `${head(hub, ports)}listen: 127.0.0.1:${listen.hub}

peers:
${plants.map((plant) => `  ${plant}: {} # dials us`).join('\n')}

links:
  telemetry:
    kind: fan-in
    from: { cluster: [${plants.join(', ')}], stream: ${streams.telemetry} }
    to: { stream: ${streams.fleet}, subject: "fleet.{origin}.{subject}" }
  recipes:
    kind: fan-out
    from: { stream: ${streams.recipes} }
    to:
      cluster: [${plants.join(', ')}]
      stream: ${streams.recipes}
      create: { subjects: ["recipe.>"], maxBytes: 64MiB }
${ordersLink}`;
}

function plantFile(plant: (typeof plants)[number], ports: Ports, listen: ListenPorts): string {
  const first = plant === plantA;
  return `${head(plant, ports)}${first ? `listen: 127.0.0.1:${listen.plantA}\n` : ''}
peers:
  ${hub}: { dial: ["127.0.0.1:${listen.hub}"] }
  ${first ? `${plantB}: {} # dials us` : `${plantA}: { dial: ["127.0.0.1:${listen.plantA}"] }`}

links:
${ordersLink}
grants:
  - { to: ${hub}, read: { stream: ${streams.telemetry} } }
  - { to: ${hub}, append: { stream: ${streams.recipes}, subjects: ["recipe.>"] }, create: { maxBytes: 64MiB } }
`;
}

/** Stands alike in every file. */
const ordersLink = `  orders:
    kind: replicate
    between: [${clusters.join(', ')}]
    stream: ${streams.orders}
    start: all
`;

function head(cluster: string, { nats, monitor }: Ports): string {
  return `version: 1
cluster: ${cluster}
trustDomain: ${trustDomain}
tls: { cert: ${cluster}.crt, key: ${cluster}.key, ca: ca.crt }
nats: { embedded: { store: ${storeOf(cluster)}, port: ${nats} } }
monitor: 127.0.0.1:${monitor}
admin: { socket: ${cluster}.sock }
`;
}

/** Folder of a cluster's JetStream store, below that of the run. */
export function storeOf(cluster: string): string {
  return `store/${cluster}`;
}

/** All of it at a glance; arrows go where the records go. */
export const picture = `
     plant-a                 hub                 plant-b
  +-----------+         +-----------+         +-----------+
  | TELEMETRY |-------->|   FLEET   |<--------| TELEMETRY |  telemetry: fan-in
  |  RECIPES  |<--------|  RECIPES  |-------->|  RECIPES  |  recipes: fan-out
  |  ORDERS   |<------->|  ORDERS   |<------->|  ORDERS   |  orders: replicate
  +-----------+         +-----------+         +-----------+
        ^                                           ^
        +------------------ orders -----------------+
`;
