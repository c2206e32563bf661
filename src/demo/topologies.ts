/** The topology files of the demo: a hub that takes in a stream of two plants. */
export const trustDomain = 'demo';
export const hub = 'hub';
export const plants = ['plant-a', 'plant-b'] as const;
export const link = 'telemetry';
export const sourceStream = 'TELEMETRY';
export const sinkStream = 'FLEET';

export interface Ports {
  /** Of the nats-server. */
  readonly nats: number;
  readonly monitor: number;
}

export function laneOf(plant: string): string {
  return `${link}/${plant}/${hub}`;
}

/** What stands before a plant's own subjects at the hub. */
export function subjectPrefix(plant: string): string {
  return `fleet.${plant}.`;
}

export function hubTopology(ports: Ports, listenPort: number): string {
  return `${head(hub, ports)}listen: 127.0.0.1:${listenPort}

peers:
${plants.map((plant) => `  ${plant}: {} # dials us`).join('\n')}

links:
  ${link}:
    kind: fan-in
    from: { cluster: [${plants.join(', ')}], stream: ${sourceStream} }
    to: { stream: ${sinkStream}, subject: "fleet.{origin}.{subject}" }
`;
}

export function plantTopology(plant: string, ports: Ports, hubPort: number): string {
  return `${head(plant, ports)}
peers:
  ${hub}: { dial: ["127.0.0.1:${hubPort}"] }

grants:
  - { to: ${hub}, read: { stream: ${sourceStream} } }
`;
}

function head(cluster: string, { nats, monitor }: Ports): string {
  return `version: 1
cluster: ${cluster}
trustDomain: ${trustDomain}
tls: { cert: ${cluster}.crt, key: ${cluster}.key, ca: ca.crt }
nats: { embedded: { store: ${storeOf(cluster)}, port: ${nats} } }
monitor: 127.0.0.1:${monitor}
`;
}

/** Folder of a cluster's JetStream store, below that of the run. */
export function storeOf(cluster: string): string {
  return `store/${cluster}`;
}
