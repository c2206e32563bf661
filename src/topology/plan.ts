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

/** A unix socket of this machine, by its absolute path. */
export interface SocketPath {
  readonly path: string;
}

/** Where a daemon listens, or is dialled. */
export type Endpoint = Address | SocketPath;

/** An HTTP proxy on the way to a peer: `url` or `env`. */
export interface ProxyPlan {
  /** `http://HOST:PORT` or `https://HOST:PORT`, without a name or password. */
  readonly url?: string;
  /** Environment variable that holds the URL, maybe with a name and password; unset or empty: there is no proxy. */
  readonly env?: string;
  readonly user?: SecretRef;
  readonly password?: SecretRef;
  /** Absolute path of the authorities (PEM) that an https proxy is verified against. */
  readonly ca?: string;
  /** What is dialled without it: patterns as in NO_PROXY, or the variable that holds them. */
  readonly except?: readonly string[] | { readonly env: string };
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
  readonly dial: readonly Endpoint[];
  /** On the way to every address but unix sockets. */
  readonly proxy?: ProxyPlan;
  /** Present for a cluster that this daemon works for, too: it reaches both, and lanes run inside it. */
  readonly nats?: NatsPlan;
}

/** Peers that are known by a pattern of their names and dial us. */
export interface GroupPlan {
  readonly name: string;
  /** Pattern of cluster names; `*` stands for any run of characters. */
  readonly match: string;
  readonly except: readonly string[];
  /** How many there are, or who they are: whoever is missing is shown as never seen. */
  readonly expect?: number | readonly string[];
}

export type LinkKind = 'fan-in' | 'fan-out' | 'replicate';

/** Where a lane begins whose sink holds nothing of it and knows no cursor. */
export type StartPlan =
  | { readonly at: 'all' | 'new' | 'fromMirror' }
  | { readonly at: 'sequence'; readonly sequence: number }
  | { readonly at: 'time' /** Unix ms. */; readonly timeMs: number };

/** A sink stream that is made if it is missing. */
export interface CreatePlan {
  /** Subjects of the stream. */
  readonly subjects: readonly string[];
  readonly maxBytes: number;
  readonly maxAgeMs?: number;
  readonly replicas: number;
}

/**
 * A link as declared, in any file; its lanes lead from each source cluster to each sink cluster but itself. Names of clusters may
 * be names of groups in a Plan. What concerns two clusters of it (`linkBetween`) is what crosses the wire between them, as canonical JSON.
 */
export interface LinkPlan {
  readonly name: string;
  readonly kind: LinkKind;
  /** Of `replicate`: both ends are all members. */
  readonly from: {
    readonly clusters: readonly string[];
    readonly stream: string;
    /** Records are acknowledged at the source once they are stored: the stream is drained. */
    readonly consume?: true;
  };
  readonly to: {
    readonly clusters: readonly string[];
    readonly stream: string;
    /** Subject template. */
    readonly subject: string;
    readonly create?: CreatePlan;
    /** Others write the stream, too; of `replicate` that goes without saying. */
    readonly shared?: true;
  };
  /** Absent: at the first record, provided that the sink stream holds nothing of unknown provenance. */
  readonly start?: StartPlan;
  /** Name that this link had before; its lanes' cursors carry over. */
  readonly previously?: string;
  /** Whether records are carried that JetStream copied into the source stream. Absent: of all kinds but `replicate`. */
  readonly sourced?: boolean;
  /** Its lanes wait at a gap until that is acknowledged; absent: they go on. */
  readonly gaps?: 'park';
  /** Clusters, as patterns, in whose name the sources may speak besides their own, at the end of the declarer. */
  readonly origins: readonly string[];
}

/** What links that `to` declares may do here. */
export interface Grant {
  /** A peer or a group. */
  readonly to: string;
  /** `consume`: to drain it. */
  readonly verb: 'read' | 'consume' | 'append';
  readonly stream: string;
  /** For `append`: the subjects that may be written, NATS wildcards allowed; absent: any subject of the stream. */
  readonly subjects?: readonly string[];
  /** For `append`: clusters, as patterns, in whose name the peer may speak. Default: its own. */
  readonly origins?: readonly string[];
  /** For `append`: the stream may be made if it is missing, no larger than this. */
  readonly create?: { readonly maxBytes: number };
}

export interface Plan {
  readonly cluster: string;
  readonly trustDomain: string;
  readonly tls: TlsFiles;
  readonly nats: NatsPlan;
  /** Absent on a daemon that only dials. */
  readonly listen?: Endpoint;
  readonly monitor: Address;
  /** Where the running daemon takes commands; absent: nowhere. The path is absolute. */
  readonly admin?: { readonly socket: string };
  /** For the records that the process holds; absent: as the machine or container allows. */
  readonly memoryBytes?: number;
  /** There may be other daemons for this cluster: one at a time is active. */
  readonly standby?: true;
  readonly peers: readonly PeerPlan[];
  readonly groups: readonly GroupPlan[];
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
  readonly kind: LinkKind;
  readonly from: string;
  readonly to: string;
  readonly sourceStream: string;
  /** As in LinkPlan. */
  readonly consume?: true;
  readonly sinkStream: string;
  /** Subject template at the sink. */
  readonly subject: string;
  readonly create?: CreatePlan;
  /** Others write the sink stream, too. */
  readonly shared: boolean;
  readonly start?: StartPlan;
  /** Id that this lane had before, if its link was renamed. */
  readonly previously?: string;
  /** As in LinkPlan. */
  readonly sourced?: boolean;
  /** As in LinkPlan. */
  readonly gaps?: 'park';
  /** As in LinkPlan. */
  readonly origins: readonly string[];
  /** The cluster whose file declares the link. */
  readonly declaredBy: string;
  /** Hash of what the declaration says of these two clusters. */
  readonly linkHash: string;
}
