// The shop: serves requests, and on request eats memory or leaves a helper process behind.
import 'reflect-metadata';
import { spawn } from 'node:child_process';
import { Controller, Get, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';

const eaten: Buffer[] = [];
let listener: any;

@Controller()
class Shop {
  @Get('health')
  health() {
    return 'ok';
  }

  // A leak, faster than most, in a request that is still under way when it ends.
  @Get('eat')
  eat() {
    setInterval(() => eaten.push(Buffer.alloc(16 << 20, 1)), 20);
    return new Promise(() => {});
  }

  // A helper that was started without care: the listener is among what it inherits, and it outlives us.
  @Get('helper')
  helper() {
    const fd = listener._handle.fd;
    const child = spawn('sleep', ['600'], { detached: true, stdio: ['ignore', 'ignore', 'ignore', fd] });
    child.unref();
    return child.pid;
  }
}

@Module({ controllers: [Shop] })
class ShopModule {}

async function main() {
  const app = await NestFactory.create(ShopModule, { logger: ['error', 'warn'] });
  listener = app.getHttpServer();
  await app.listen(Number(process.env.PORT ?? 8080), '127.0.0.1');
}

main().catch((error) => {
  console.error(error.message);
  process.exit(1);
});
