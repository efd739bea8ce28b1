/** The version of this package: of the instrumentation, and of the scope of its metrics. */
export const VERSION = '0.1.0'
