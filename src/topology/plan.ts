/**
 * What a topology file compiles to. A Plan is immutable and complete: nothing after this point reads the file, resolves a
 * path or applies a default. Secrets are references here; they are read when a connection is made, and again at each reconnect.
 */

/** Where a secret comes from. Literals are refused by the schema. */
export type SecretRef = { readonly file: string } | { readonly env: string };

/** host and port, IPv6 without brackets. */
export interface Address {
  readonly host: string;
  readonly port: number;
}

/** Absolute paths of PEM files: one identity, dialling or listening. */
export interface TlsFiles {
  readonly cert: string;
  readonly key: string;
  readonly ca: string;
}

export interface NatsPlan {
  /** `nats://` or `tls://` URLs; empty when `embedded` is set. */
  readonly servers: readonly string[];
  readonly credentials?: SecretRef;
  readonly nkey?: SecretRef;
  readonly user?: SecretRef;
  readonly password?: SecretRef;
  readonly token?: SecretRef;
  readonly tls?: { readonly ca?: string; readonly cert?: string; readonly key?: string };
  readonly domain?: string;
  readonly embedded?: EmbeddedPlan;
}

export interface EmbeddedPlan {
  /** Absolute directory of the JetStream store. */
  readonly store: string;
  /** Loopback port for clients. */
  readonly port: number;
}

/** Another cluster, as this daemon sees it. */
export interface PeerPlan {
  readonly cluster: string;
  /** Addresses we dial, in order of preference; empty: the peer dials us. */
  readonly dial: readonly Address[];
}

/** A link as declared, in any file. The canonical JSON of this is what crosses the wire to the other end. */
export interface LinkPlan {
  readonly name: string;
  readonly kind: 'fan-in';
  readonly from: { readonly clusters: readonly string[]; readonly stream: string };
  readonly to: { readonly cluster: string; readonly stream: string /** Subject template. */; readonly subject: string };
}

/** What links that `to` declares may do here. */
export interface Grant {
  readonly to: string;
  readonly verb: 'read' | 'append';
  readonly stream: string;
  /** For `append`: the subjects that may be written, NATS wildcards allowed; absent: any subject of the stream. */
  readonly subjects?: readonly string[];
}

export interface Plan {
  readonly cluster: string;
  readonly trustDomain: string;
  readonly tls: TlsFiles;
  readonly nats: NatsPlan;
  /** Absent on a daemon that only dials. */
  readonly listen?: Address;
  readonly monitor: Address;
  readonly peers: readonly PeerPlan[];
  /** Links that this file declares. */
  readonly links: readonly LinkPlan[];
  readonly grants: readonly Grant[];
  /** The file it was compiled from: absolute path, and a hash of its text. */
  readonly file: string;
  readonly hash: string;
}

/** One ordered, one-way flow from one source to one sink. */
export interface LanePlan {
  /** link/from/to */
  readonly id: string;
  readonly link: string;
  readonly from: string;
  readonly to: string;
  readonly sourceStream: string;
  readonly sinkStream: string;
  /** Subject template at the sink. */
  readonly subject: string;
  /** The cluster whose file declares the link. */
  readonly declaredBy: string;
  /** Hash of the declaration. */
  readonly linkHash: string;
}
