/** What we use of packages that declare nothing, or not what they are now. */
declare module 'istanbul-lib-instrument' {
  import type { NodePath, types } from '@babel/core';
  import type { FileCoverageData } from 'istanbul-lib-coverage';

  interface VisitorOptions {
    readonly coverageVariable: string;
    readonly coverageGlobalScope: string;
    /** The scope is found by code that is made from text. */
    readonly coverageGlobalScopeFunc: boolean;
  }

  interface ProgramVisitor {
    enter(program: NodePath<types.Program>): void;
    exit(program: NodePath<types.Program>): { readonly fileCoverage: FileCoverageData };
  }

  export function programVisitor(
    babelTypes: typeof types,
    path: string,
    options: VisitorOptions,
  ): ProgramVisitor;
}

declare module 'istanbul-reports/lib/text' {
  import { ReportBase } from 'istanbul-lib-report';

  // biome-ignore lint/style/noDefaultExport: the module has nothing else
  export default class TextReport extends ReportBase {
    constructor(options: { readonly maxCols: number });
  }
}

declare module 'istanbul-reports/lib/lcovonly' {
  import { ReportBase } from 'istanbul-lib-report';

  // biome-ignore lint/style/noDefaultExport: the module has nothing else
  export default class LcovReport extends ReportBase {}
}
