/** Questions to the kernel's network settings and changes of them, one at a time. */
import { AppError, SystemError } from '../core/errors.ts';
import { RouteClient } from '../sys/route-client.ts';

/** A socket for each task: they are few and far between. */
export function withRoutes<Result>(task: (routes: RouteClient) => Result): Result {
  const routes = new RouteClient();
  try {
    return task(routes);
  } finally {
    routes.close();
  }
}

/** Throws AppError `not_found`. */
export function linkIndex(routes: RouteClient, name: string): number {
  const link = routes.link(name);
  if (!link) throw new AppError('not_found', `interface ${name} is gone`);
  return link.index;
}

/** Of the namespace that this thread is in. */
export function setLoopbackUp(): void {
  withRoutes((routes) => routes.setLinkUp(linkIndex(routes, 'lo'), true));
}

/** Runs `task`, for which these errors mean that things are as they shall be. */
export function ignoring(errnos: readonly number[], task: () => void): void {
  try {
    task();
  } catch (error) {
    if (!(error instanceof SystemError) || !errnos.includes(error.errno)) throw error;
  }
}
