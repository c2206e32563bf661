/** Where Graphviz puts the boxes of a picture, and how it leads the lines. Points, y downwards. */
export interface Layout {
  readonly width: number;
  readonly height: number;
  /** Centres of boxes, by id. */
  readonly boxes: ReadonlyMap<string, Point>;
  /** By id of the line. */
  readonly paths: ReadonlyMap<string, Path>;
}

export interface Point {
  readonly x: number;
  readonly y: number;
}

/** A cubic spline from left to right. */
export interface Path {
  /** 3n + 1 points. */
  readonly points: readonly Point[];
  /** Tips of what stands at the ends; the spline stops short of them. */
  readonly leftTip?: Point;
  readonly rightTip?: Point;
}

/** What we read of Graphviz's `json0`. */
interface Laid {
  readonly bb: string;
  readonly objects?: readonly { readonly name: string; readonly pos: string }[];
  readonly edges?: readonly { readonly id: string; readonly pos: string }[];
}

/** Lays out a picture that `drawDot` wrote. The library is large and loaded only here. */
export async function layOut(dot: string): Promise<Layout> {
  const { instance } = await import('@viz-js/viz');
  const graphviz = await instance();
  // Not `json`: its drawing commands are of no use here, and in 16.1 are no JSON where a box is dashed.
  const laid = JSON.parse(graphviz.renderString(dot, { format: 'json0' })) as Laid;
  const [, , width = 0, height = 0] = laid.bb.split(',').map(Number);
  const pointOf = (text: string): Point => {
    const [x = 0, y = 0] = text.split(',').map(Number);
    return { x, y: height - y };
  };
  const pathOf = (text: string): Path => {
    const parts = text.split(' ');
    const tip = (letter: string): Point | undefined => {
      const found = parts.find((part) => part.startsWith(`${letter},`));
      return found === undefined ? undefined : pointOf(found.slice(2));
    };
    const [leftTip, rightTip] = [tip('s'), tip('e')];
    return {
      points: parts.filter((part) => /^[-\d]/.test(part)).map(pointOf),
      ...(leftTip === undefined ? {} : { leftTip }),
      ...(rightTip === undefined ? {} : { rightTip }),
    };
  };
  return {
    width,
    height,
    boxes: new Map((laid.objects ?? []).map(({ name, pos }) => [name, pointOf(pos)])),
    paths: new Map((laid.edges ?? []).map(({ id, pos }) => [id, pathOf(pos)])),
  };
}
