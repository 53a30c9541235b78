import type { OpenDeviceOptions, OpenedDevice } from '../../src/app/serve-device.ts';
import { FakeDevice } from './fake-device.ts';

/** A device that is open without TUN and sockets. */
export class FakeOpenedDevice implements OpenedDevice {
  readonly name: string;
  readonly device: FakeDevice = new FakeDevice();
  readonly closed: Promise<string>;
  /** The reason it was closed with. */
  reason: string | undefined;
  #settle: (reason: string) => void = () => {};

  constructor({ name }: Pick<OpenDeviceOptions, 'name'>) {
    this.name = name;
    this.closed = new Promise((resolve) => {
      this.#settle = resolve;
    });
  }

  close(reason: string): Promise<void> {
    this.reason ??= reason;
    this.#settle(this.reason);
    return Promise.resolve();
  }
}
